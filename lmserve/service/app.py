"""The scoring service as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lmserve.service import (
    draining,
    generate_routes,
    model_routes,
    next_routes,
    openai_routes,
    operation_routes,
    page_routes,
    score_routes,
    session_routes,
    tokenizer_routes,
    tracing,
)
from lmserve.service.cache import ScoreCache
from lmserve.service.context import Service
from lmserve.service.keys import KeyRing
from lmserve.service.middleware import RequestMiddleware
from lmserve.service.problems import on_http_exception, on_invalid_request
from lmserve.service.protecting import protect
from lmserve.service.rate_limits import LocalRateLimiter, RateLimiter
from lmserve.service.request_log import start_log
from lmserve.service.shutdown import Shutdown


def create_app(
    service: Service,
    *,
    cache: ScoreCache | None = None,
    limiter: RateLimiter | None = None,
    shutting_down: Callable[[], bool] | None = None,
) -> FastAPI:
    """Builds the application.

    Args:
        service: what its routes work with.
        cache: of the service's models; the application closes it, and the service's store of
            states, when it shuts down.
        limiter: keeps rate limits; without one, this process does. It is closed, too.
        shutting_down: whether the server has begun to shut down this replica, for servers that
            send it no more requests then; without it, SIGTERM and SIGINT begin the shutdown.
    """
    protection = service.settings.protection
    shutdown = Shutdown(protection.drain_s)
    limiter = limiter or LocalRateLimiter()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        start_log(protection.log_format)
        tracing.start_from_environment()
        async with service.models, draining.beginning(shutdown, shutting_down):
            yield
        if cache is not None:
            await cache.close()
        await service.states.close()
        await limiter.close()
        await asyncio.to_thread(tracing.stop)

    app = FastAPI(
        title="lmserve",
        summary="Log probabilities and perplexities of sentences, one by one or streamed.",
        lifespan=lifespan,
        # FastAPI's own load their scripts from elsewhere; see page_routes.
        docs_url=None,
        redoc_url=None,
        # A client with a wrong path is told so; a redirect would lose its stream.
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.shutdown = shutdown
    keys = KeyRing(Path(protection.api_keys_file)) if protection.api_keys_file else None
    protect(app, protection, metrics=service.metrics, shutdown=shutdown, limiter=limiter, keys=keys)
    app.add_middleware(
        RequestMiddleware,
        metrics=service.metrics,
        echo_request_id=service.settings.echo_request_id,
        protection=protection,
    )
    app.exception_handler(HTTPException)(on_http_exception)
    app.exception_handler(RequestValidationError)(on_invalid_request)
    for routes in (
        score_routes,
        session_routes,
        next_routes,
        generate_routes,
        openai_routes,
        tokenizer_routes,
        model_routes,
        operation_routes,
        page_routes,
    ):
        app.include_router(routes.router)
    return app
