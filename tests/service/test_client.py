"""The client with services that break, refuse, stall or are not there."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pytest

from lmserve.client import Client
from lmserve.errors import OptionError, ServiceError

# What the service does with a connection: reads from one file, and writes to the other.
Handle = Callable[[BinaryIO, BinaryIO], object]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SCORE = b'{"log10_prob":-1.0}\n'
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.contextmanager
def service(handle: Handle) -> Iterator[str]:
    """The URL of a service for one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with (
            connection,
            connection.makefile("rb") as reader,
            connection.makefile("wb", buffering=0) as writer,
            contextlib.suppress(OSError),
        ):
            handle(reader, writer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)
        assert not thread.is_alive()


def read_head(reader: BinaryIO) -> bytes:
    return b"".join(iter(reader.readline, b"\r\n"))


def read_body(reader: BinaryIO) -> int:
    """How many lines the chunks of a body have."""
    lines = 0
    while size := int(reader.readline(), 16):
        lines += reader.read(size).count(b"\n")
        reader.readline()
    reader.readline()
    return lines


def answering(answer: bytes) -> Handle:
    """Reads a whole stream, then writes `answer` and ends the connection."""

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_head(reader)
        read_body(reader)
        writer.write(answer)

    return handle


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + chunk(SCORE),
        CHUNKED + chunk(SCORE) + chunk(SCORE)[:12],
        CHUNKED + chunk(SCORE + b'{"log10_prob"'),
        CHUNKED + chunk(SCORE) + END,
        CHUNKED + chunk(SCORE) + b"nonsense\r\n",
    ],
    ids=["between chunks", "within a chunk", "within a line", "in good order", "with nonsense"],
)
def test_a_stream_that_ends_early_is_an_error(answer: bytes) -> None:
    with service(answering(answer)) as url:
        answers = Client(url).score_stream(["a", "b", "c"])
        assert next(answers) == {"log10_prob": -1.0}
        with pytest.raises(ServiceError, match="1 answers to 3 texts;"):
            next(answers)


def test_a_service_that_ends_before_all_is_sent_is_an_error() -> None:
    more = threading.Event()

    def texts() -> Iterator[str]:
        yield "a"
        more.wait(10)

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_head(reader)
        writer.write(CHUNKED + chunk(SCORE) + END)

    with service(handle) as url, pytest.raises(ServiceError, match="1 answers to 1 texts sent so"):
        list(Client(url).score_stream(texts(), batch=1))
    more.set()


def test_more_answers_than_texts_are_an_error() -> None:
    with (
        service(answering(CHUNKED + chunk(SCORE * 2) + END)) as url,
        pytest.raises(ServiceError, match="2 answers to 1 texts"),
    ):
        list(Client(url).score_stream(["a"]))


def test_a_refused_text_is_an_error_after_the_answers_before_it() -> None:
    refusal = b'{"error":{"status":413,"detail":"the line is too long"},"line":2}\n'
    with service(answering(CHUNKED + chunk(SCORE + refusal + SCORE) + END)) as url:
        answers = Client(url).score_stream(["a", "b", "c"])
        assert next(answers) == {"log10_prob": -1.0}
        with pytest.raises(ServiceError, match="refused text 2: the line is too long"):
            next(answers)


@pytest.mark.parametrize("answer", [b"<html>\n", b"[]\n", b"7\n"])
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    with (
        service(answering(CHUNKED + chunk(answer) + END)) as url,
        pytest.raises(ServiceError, match="broke off"),
    ):
        list(Client(url).score_stream(["a"]))


def test_a_consumer_may_pause_for_longer_than_the_timeout() -> None:
    """Meanwhile neither side reads, and texts wait for room: that is no fault of the service."""
    resumed = threading.Event()

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_head(reader)
        writer.write(CHUNKED + chunk(SCORE))
        resumed.wait(10)
        writer.write(chunk(SCORE * (read_body(reader) - 1)) + END)

    texts = ["x" * 1000] * 20_000
    with service(handle) as url:
        answers = Client(url, timeout_s=1.0).score_stream(texts)
        next(answers)
        threading.Timer(2.5, resumed.set).start()
        assert resumed.wait(10)
        assert len(list(answers)) == len(texts) - 1


def test_silence_is_an_error() -> None:
    done = threading.Event()
    with service(lambda *_: done.wait(10)) as url:
        client = Client(url, timeout_s=0.1)
        with pytest.raises(ServiceError, match="0 answers to 1 texts; TimeoutError"):
            list(client.score_stream(["a"]))
        done.set()


@pytest.mark.parametrize("error", [KeyError("own"), ConnectionError("own"), TimeoutError("own")])
def test_what_the_iterable_raises_midway_is_raised(error: Exception) -> None:
    answered = threading.Event()

    def texts() -> Iterator[str]:
        yield "a"
        answered.wait(10)
        raise error

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_head(reader)
        writer.write(CHUNKED + chunk(SCORE))
        reader.read()

    with service(handle) as url:
        answers = Client(url).score_stream(texts(), batch=1)
        next(answers)
        answered.set()
        with pytest.raises(type(error), match="own"):
            next(answers)


def test_a_consumer_that_leaves_ends_the_connection() -> None:
    def texts() -> Iterator[str]:
        while True:
            yield "x" * 1000

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_head(reader)
        writer.write(CHUNKED + chunk(SCORE))
        reader.read()

    before = threading.active_count()
    with service(handle) as url:
        answers = Client(url).score_stream(texts())
        next(answers)
        answers.close()  # type: ignore[attr-defined]
    deadline_s = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["", "/", "/lm", "/lm/"])
def test_the_path_of_the_url_is_kept(path: str) -> None:
    heads: list[bytes] = []

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        heads.append(read_head(reader))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    calls: list[Callable[[Client], object]] = [
        lambda client: client.score(["a"]),
        lambda client: list(client.score_stream([])),
        lambda client: client.metrics(),
    ]
    for call in calls:
        with service(handle) as url, pytest.raises(ServiceError, match="404"):
            call(Client(url + path))
    prefix = path.rstrip("/").encode()
    assert [head.split()[1] for head in heads] == [
        prefix + b"/v1/score",
        prefix + b"/v1/score/stream?words=false",
        prefix + b"/metrics",
    ]


@pytest.mark.parametrize(
    "url",
    ["", "h:80", "ftp://h", "http://", "http://h:x", "http://h:0", "http://h:99999", "http://["],
)
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(ServiceError, match="is no URL"):
        Client(url)


@pytest.mark.parametrize("url", ["http://a..b", "http://127.0.0.1:1/ü", "http://127.0.0.1:1/a b"])
def test_a_url_that_leads_nowhere_is_an_error(url: str) -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        Client(url).score(["a"])
    with pytest.raises(ServiceError, match="does not answer"):
        list(Client(url).score_stream(["a"]))


@pytest.mark.parametrize("missing_bytes", [0, 100])
@pytest.mark.parametrize("body", [b'{"scores": [', b'{"scores": []}', b"{}", b"[]", b"<html>"])
def test_an_answer_that_is_incomplete_is_an_error(body: bytes, missing_bytes: int) -> None:
    length = len(body) + missing_bytes

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, body))

    with service(handle) as url, pytest.raises(ServiceError, match="broke off"):
        Client(url).score(["a"])


def test_a_batch_has_a_text() -> None:
    with pytest.raises(OptionError, match="batch is 0"):
        next(Client("http://h").score_stream(["a"], batch=0))
