"""What the routes have in common."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, HTTPException, Query
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from lmserve.service.decoding import decoded
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.problems import MEDIA_TYPE as PROBLEM_MEDIA_TYPE
from lmserve.service.problems import describe
from lmserve.service.schemas import Problem
from lmserve.service.served import Catalogue
from lmserve.service.session_places import SessionPlaces
from lmserve.service.settings import ServiceSettings
from lmserve.service.state_store import MemoryStateStore, StateStore

MODEL_HEADER = "X-Model-Digest"
NDJSON = "application/x-ndjson"

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What the routes work with."""

    models: Catalogue
    metrics: ServiceMetrics
    settings: ServiceSettings
    states: StateStore = field(default_factory=MemoryStateStore)
    places: SessionPlaces = field(default_factory=SessionPlaces)


# A coroutine, as FastAPI sends plain functions through a worker thread for every request.
async def _service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


InService = Annotated[Service, Depends(_service)]
ModelName = Annotated[str | None, Query(description="Name of the model; without, the first.")]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route's errors stand in the OpenAPI document."""
    schema = {"schema": Problem.model_json_schema()}
    return {
        status: {"description": "What is wrong.", "content": {PROBLEM_MEDIA_TYPE: schema}}
        for status in statuses
    }


def json_body(schema: type[BaseModel]) -> dict[str, Any]:
    """How a body that the route reads by itself stands in the OpenAPI document."""
    content = {"application/json": {"schema": schema.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def pieces(request: Request, service: Service) -> AsyncIterator[bytes]:
    """The body as it comes, decompressed, or 408 when the client pauses for longer than allowed.

    Raises:
        HTTPException: 415 at once for a content encoding that is not known.
    """
    return decoded(_received(request, service), request.headers.get("content-encoding", ""))


async def _received(request: Request, service: Service) -> AsyncIterator[bytes]:
    stream = request.stream()
    max_idle_s = service.settings.max_idle_s
    while True:
        try:
            async with asyncio.timeout(max_idle_s):
                piece = await anext(stream, None)
        except TimeoutError as error:
            service.metrics.idle_requests.inc()
            detail = f"Nothing came for {max_idle_s:g} s; send the rest in a new request."
            raise HTTPException(408, detail, {"Connection": "close"}) from error
        if piece is None:
            return
        yield piece


async def read_body(request: Request, service: Service) -> bytes:
    """The body, decompressed, or 413 as soon as it is longer than allowed: no more is held."""
    max_bytes = service.settings.max_body_bytes
    return await _read(request, service, max_bytes, too_long(max_bytes))


async def read_context(request: Request, service: Service) -> bytes:
    """The body of a request with a context to go on from, or 413 as `read_body` has it."""
    max_bytes = service.settings.max_context_bytes
    detail = f"The body is longer than {max_bytes} bytes; send a shorter context, or fewer."
    return await _read(request, service, max_bytes, HTTPException(413, detail))


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of work for a request whose body was read, given up when the client leaves.

    Raises:
        ClientDisconnect: it left.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.ensure_future(request.receive())  # All that can still come.
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


def parse(schema: type[Body], body: bytes) -> Body:
    """A body as its schema has it, or 400 where it is no JSON, 422 where it is another shape."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        broken = any(one["type"] == "json_invalid" for one in errors)
        raise HTTPException(400 if broken else 422, describe(errors)) from error


def too_long(max_bytes: int, condition: str = "") -> HTTPException:
    """What answers a body that is longer than allowed."""
    return HTTPException(
        413,
        f"The body is longer than {max_bytes} bytes{condition}; "
        "send fewer texts at a time, or use the stream.",
    )


async def _read(
    request: Request, service: Service, max_bytes: int, refusal: HTTPException
) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise refusal
    body = bytearray()
    async for part in pieces(request, service):
        body += part
        if len(body) > max_bytes:
            raise refusal
    return bytes(body)
