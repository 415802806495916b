"""An application behind a real socket."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI


class RestartableServer:
    """uvicorn in a thread; stopped, it can be started again on the same port."""

    def __init__(self, app: FastAPI, **options: Any) -> None:
        self._app = app
        self._options = options
        self.port = 0

    @property
    def url(self) -> str:
        scheme = "https" if "ssl_certfile" in self._options else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = uvicorn.Config(
            self._app, port=self.port, log_level="error", lifespan="off", **self._options
        )
        self._server = _Announcing(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert self._server.listens.wait(20)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Ends the server with all its connections."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@contextmanager
def running_server(app: FastAPI, **options: Any) -> Iterator[RestartableServer]:
    """A running server; options as of `uvicorn.Config`."""
    server = RestartableServer(app, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
