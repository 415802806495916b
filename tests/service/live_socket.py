"""An application on a real uvicorn, in a thread of the test."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

HEAD = (
    b"POST /v1/score/stream HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: text/plain\r\n\r\n"
)


@contextmanager
def live(app: ASGIApp) -> Iterator[int]:
    """Yields the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", ws="websockets-sansio")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_for(lambda: server.started)
            port: int = listening.getsockname()[1]
            yield port
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(30)


def wait_for(holds: object, seconds: float = 30) -> None:
    assert callable(holds)
    deadline_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def chunk(data: bytes) -> bytes:
    """Data as HTTP/1.1 sends a piece of it."""
    return b"%x\r\n%s\r\n" % (len(data), data)
