"""The scoring service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lmserve.scorer import Scorer
from lmserve.service.cache import ScoreCache
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.middleware import RequestMiddleware
from lmserve.service.problems import on_http_exception, on_invalid_request
from lmserve.service.routes import Service, router
from lmserve.service.scoring import CachedScorer
from lmserve.service.settings import ServiceSettings


def create_app(
    scorer: Scorer, *, cache: ScoreCache, metrics: ServiceMetrics, settings: ServiceSettings
) -> FastAPI:
    """Builds the service around a model.

    Args:
        scorer: the model.
        cache: keeps scores of whole texts; the application closes it when it shuts down.
        metrics: made for the same model.
        settings: limits.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await cache.close()

    app = FastAPI(
        title="lmserve",
        summary="Log probabilities and perplexities of sentences, one by one or streamed.",
        lifespan=lifespan,
        # A client with a wrong path is told so; a redirect would lose its stream.
        redirect_slashes=False,
    )
    app.state.service = Service(
        scorer=CachedScorer(
            scorer, cache=cache, metrics=metrics, thread_bytes=settings.thread_bytes
        ),
        metrics=metrics,
        settings=settings,
    )
    app.add_middleware(RequestMiddleware, metrics=metrics, echo_request_id=settings.echo_request_id)
    app.exception_handler(HTTPException)(on_http_exception)
    app.exception_handler(RequestValidationError)(on_invalid_request)
    app.include_router(router)
    return app
