"""Services that are written byte by byte, for tests of what goes wrong."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

# What a service does with a connection: reads from one file, and writes to the other.
Handle = Callable[[BinaryIO, BinaryIO], object]


@contextlib.contextmanager
def raw_server(*handles: Handle, at_once: bool = False) -> Iterator[str]:
    """The URL of a service for as many connections, one after the other or at once; no more."""

    def serve() -> None:
        threads = []
        with listener:
            for handle in handles:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=_serve, args=(connection, handle)))
                threads[-1].start()
                if not at_once:
                    threads[-1].join()
        for thread in threads:
            thread.join()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join(20)
    assert not thread.is_alive()


def _serve(connection: socket.socket, handle: Handle) -> None:
    with (
        connection,
        connection.makefile("rb") as reader,
        connection.makefile("wb", buffering=0) as writer,
        contextlib.suppress(OSError),
    ):
        handle(reader, writer)


def read_head(reader: BinaryIO) -> bytes:
    return b"".join(iter(reader.readline, b"\r\n"))


def read_whole(reader: BinaryIO) -> tuple[bytes, bytes]:
    """A request's head and body."""
    head = read_head(reader)
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    return head, reader.read(length)


def read_request(reader: BinaryIO) -> Any:
    """The JSON of a request's body."""
    return json.loads(read_whole(reader)[1])


def read_texts(reader: BinaryIO) -> list[str]:
    """The texts of a request of a stream."""
    return [json.loads(line)["text"] for line in read_whole(reader)[1].splitlines()]


def answer(body: bytes, *, status: str = "200 OK", missing_bytes: int = 0, **headers: str) -> bytes:
    """An answer, which promises some bytes more than it has."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) + missing_bytes}\r\n{lines}\r\n"
    return head.encode() + body


def scores(*texts: str) -> bytes:
    """The body that answers `POST /v1/score`, with scores told apart by the texts' lengths."""
    return json.dumps({"model": "ab", "scores": [_score(text) for text in texts]}).encode()


def streamed(*texts: str, model: str = "ab") -> bytes:
    """The same scores as an answer of `POST /v1/score/stream`."""
    lines = "".join(f"{json.dumps(_score(text))}\n" for text in texts)
    return answer(lines.encode(), X_Model_Digest=model)


def _score(text: str) -> dict[str, float]:
    return {"log10_prob": -float(len(text)), "tokens": 1, "oov": 0}


def answering(data: bytes) -> Handle:
    """Reads a request, then writes `data` and ends the connection."""

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_whole(reader)
        writer.write(data)

    return handle


def scoring(reader: BinaryIO, writer: BinaryIO) -> None:
    """Answers all streams' requests of a connection."""
    while reader.peek(1):  # type: ignore[attr-defined]
        writer.write(streamed(*read_texts(reader)))
