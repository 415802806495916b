"""The application around a small model, for tests of its routes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from fastapi import FastAPI
from scorers import table

from lmserve.scorer import Scorer
from lmserve.service.app import create_app
from lmserve.service.batching import Batcher
from lmserve.service.cache import LruCache, ScoreCache
from lmserve.service.context import Service
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.schemas import Problem, ScoreResponse
from lmserve.service.scoring import CachedScorer, Scored, ScoreOptions
from lmserve.service.served import Catalogue, ServedModel
from lmserve.service.settings import ServiceSettings

MakeBatcher = Callable[[ServiceMetrics], Batcher[ScoreOptions, Scored]]
Use = Callable[[httpx.AsyncClient], Awaitable[Any]]


class Harness:
    """The application around a scorer, and its metrics."""

    def __init__(
        self,
        scorer: Scorer | None = None,
        *,
        cache: ScoreCache | None = None,
        batcher: MakeBatcher | None = None,
        **limits: Any,
    ) -> None:
        self.scorer = scorer or table()
        self.metrics = ServiceMetrics()
        settings = ServiceSettings(**limits)
        kept = cache or LruCache()
        scorer_behind_cache = CachedScorer(
            self.scorer,
            cache=kept,
            metrics=self.metrics,
            thread_bytes=settings.thread_bytes,
            batcher=batcher(self.metrics) if batcher else None,
        )
        served = ServedModel(
            name="table", version="1", model=self.scorer, scorer=scorer_behind_cache
        )
        service = Service(
            models=Catalogue({"table": served}), metrics=self.metrics, settings=settings
        )
        self.app: FastAPI = create_app(service, cache=kept)

    def run(self, use: Use) -> Any:
        async def client() -> Any:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await use(client)

        return asyncio.run(client())

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self.run(lambda client: client.request(method, path, **options))
        assert isinstance(response, httpx.Response)
        return response

    def score(self, **body: Any) -> ScoreResponse:
        response = self.request("POST", "/v1/score", json=body)
        assert response.status_code == 200, response.text
        return ScoreResponse.model_validate_json(response.content)

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert problem.status == response.status_code
    assert problem.request_id == response.headers["x-request-id"]
    return problem


def scope(path: str) -> dict[str, Any]:
    """An ASGI request, for tests that play the server."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-ndjson")],
    }
