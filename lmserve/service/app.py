"""The scoring service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lmserve.service import (
    generate_routes,
    model_routes,
    next_routes,
    openai_routes,
    operation_routes,
    page_routes,
    score_routes,
    session_routes,
    tokenizer_routes,
)
from lmserve.service.cache import ScoreCache
from lmserve.service.context import Service
from lmserve.service.middleware import RequestMiddleware
from lmserve.service.problems import on_http_exception, on_invalid_request


def create_app(service: Service, *, cache: ScoreCache | None = None) -> FastAPI:
    """Builds the application.

    Args:
        service: what its routes work with.
        cache: of the service's models; the application closes it, and the service's store of
            states, when it shuts down.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.models:
            yield
        if cache is not None:
            await cache.close()
        await service.states.close()

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
    app.add_middleware(
        RequestMiddleware,
        metrics=service.metrics,
        echo_request_id=service.settings.echo_request_id,
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
