"""The service on a real port, and a client of its sessions."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lmserve.language_model import LanguageModel
from lmserve.service.app import create_app
from lmserve.service.cache import LruCache
from lmserve.service.context import Service
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer
from lmserve.service.served import Catalogue, ServedModel
from lmserve.service.settings import ServiceSettings
from lmserve.service.state_store import MemoryStateStore, StateStore


@dataclass(frozen=True)
class Live:
    """A running service."""

    port: int
    service: Service

    @contextmanager
    def session(self, **query: Any) -> "Iterator[SessionClient]":
        """A session that has just been opened."""
        url = f"ws://127.0.0.1:{self.port}/v1/stream?{urlencode(query)}"
        with connect(url, open_timeout=30) as connection:
            yield SessionClient(connection)

    def post(self, **body: Any) -> httpx.Response:
        """The answer of `POST /v1/score`."""
        return httpx.post(f"http://127.0.0.1:{self.port}/v1/score", json=body, timeout=60)

    def wait_until_left(self) -> None:
        """Returns when no session is open."""
        deadline_s = time.monotonic() + 30
        while self.count("lmserve_sessions"):
            assert time.monotonic() < deadline_s, "a session does not end"
            time.sleep(0.01)

    def count(self, name: str) -> float | None:
        """The present value of a metric."""
        return self.service.metrics.registry.get_sample_value(name)


class SessionClient:
    """A client that sends and receives JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.connection.recv(timeout=30))
        return answer

    def ready(self) -> dict[str, Any]:
        """The first message."""
        ready: dict[str, Any] = self.receive()["ready"]
        return ready

    def answers(self, count: int) -> list[dict[str, Any]]:
        """The next answers, none of them an error."""
        answers = [self.receive() for _ in range(count)]
        assert all("error" not in answer for answer in answers), answers
        return answers

    def error(self) -> dict[str, Any]:
        """The next message, an error."""
        error: dict[str, Any] = self.receive()["error"]
        return error

    def close_code(self) -> int | None:
        """How the service ends the session."""
        try:
            message = self.connection.recv(timeout=30)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        raise AssertionError(f"a message instead of the end: {message!r}")


@contextmanager
def live(
    *models: LanguageModel,
    names: Sequence[str] = tuple("0123456789"),
    port: int = 0,
    states: StateStore | None = None,
    **limits: Any,
) -> Iterator[Live]:
    """Runs the service with models named "0", "1", ... in a thread until the block ends."""
    settings = ServiceSettings(**limits)
    metrics = ServiceMetrics()
    cache = LruCache()
    served = {
        name: ServedModel(
            name=name,
            version="1",
            model=model,
            scorer=CachedScorer(
                model, cache=cache, metrics=metrics, thread_bytes=settings.thread_bytes
            ),
        )
        for name, model in zip(names, models, strict=False)
    }
    service = Service(
        models=Catalogue(served),
        metrics=metrics,
        settings=settings,
        states=states or MemoryStateStore(),
    )
    config = uvicorn.Config(create_app(service, cache=cache), port=port, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline_s = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server ended at once"
            assert time.monotonic() < deadline_s, "the server doesn't start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Live(port, service)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
