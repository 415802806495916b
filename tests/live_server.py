"""The application behind a real server, on real sockets."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from lmserve.language_model import LanguageModel
from lmserve.service.app import create_app
from lmserve.service.cache import LruCache
from lmserve.service.context import Service
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer
from lmserve.service.served import Catalogue, ServedModel
from lmserve.service.settings import ServiceSettings


@dataclass(frozen=True)
class LiveServer:
    """Where it listens, and what it counts."""

    url: str
    metrics: ServiceMetrics

    def count(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, *args: Any, **options: Any) -> None:
        await super().startup(*args, **options)
        self.ready.set()


@contextmanager
def serving_models(models: Mapping[str, LanguageModel], **limits: Any) -> Iterator[LiveServer]:
    """Serves models by name, the first for requests that name none, until the block ends."""
    metrics = ServiceMetrics()
    cache = LruCache()
    served = {
        name: ServedModel(
            name=name,
            version="1",
            model=model,
            scorer=CachedScorer(model, cache=cache, metrics=metrics, thread_bytes=0),
        )
        for name, model in models.items()
    }
    settings = ServiceSettings(**limits)
    service = Service(models=Catalogue(served), metrics=metrics, settings=settings)
    app = create_app(service, cache=cache)
    server = _Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.ready.wait(60)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield LiveServer(f"http://127.0.0.1:{port}", metrics)
    finally:
        server.should_exit = True
        thread.join()
