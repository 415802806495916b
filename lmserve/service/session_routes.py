"""The route of sessions: a WebSocket on which words come, and go back with their scores."""

import asyncio
import contextlib
import logging
import time

import orjson
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket, WebSocketDisconnect

from lmserve.service.context import InService, Service, parse
from lmserve.service.problems import describe, problem
from lmserve.service.session_messages import SessionMessage, SessionOptions, WordBuffer
from lmserve.service.sessions import Session
from lmserve.service.settings import ServiceSettings

# Close codes from 4000 on are applications' own; ours is the problem's status added to this.
_CLOSE_CODE = 4000

logger = logging.getLogger(__name__)

router = APIRouter()


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket, service: InService) -> None:
    """Answers words as they come; docs/sessions.md has the messages."""
    # Accepted whatever is wrong: browsers show nothing of an answer that refuses a WebSocket.
    await websocket.accept()
    try:
        with (
            service.places.one(service.settings.max_sessions),
            service.metrics.sessions.track_inprogress(),
        ):
            options = _options(websocket.query_params)
            session = await Session.open(service, options)
            await _send(websocket, await session.ready(options.state))
            await _talk(websocket, session, service)
    except WebSocketDisconnect:
        return
    except HTTPException as error:
        await _refuse(websocket, error)
    except Exception:
        logger.exception("a session failed")
        await _refuse(websocket, HTTPException(500, "The server failed; its log tells more."))


async def _talk(websocket: WebSocket, session: Session, service: Service) -> None:
    """Answers messages until the client leaves."""
    buffer = WordBuffer(service.settings)
    metrics = service.metrics
    while True:
        received = await _receive(websocket, service.settings)
        started_s = time.perf_counter()
        try:
            message = _message(received, service.settings)
            words = buffer.take(message)
        except HTTPException as error:
            await _send(websocket, _error(error))
            continue
        async for answers in session.read(words, end=message.end is not None):
            for answer in answers:
                await _send(websocket, answer)
                metrics.session_word_seconds.observe(time.perf_counter() - started_s)
            metrics.session_words.inc(len(answers))


async def _receive(websocket: WebSocket, settings: ServiceSettings) -> str | None:
    """The next message, None for one of bytes.

    Raises:
        HTTPException: 408, none came for long.
        WebSocketDisconnect: the client left.
    """
    try:
        async with asyncio.timeout(settings.max_session_idle_s):
            received = await websocket.receive()
    except TimeoutError as error:
        detail = (
            f"Nothing came for {settings.max_session_idle_s:g} s; come back with the last state."
        )
        raise HTTPException(408, detail) from error
    if received["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(received["code"])
    text: str | None = received.get("text")
    return text


def _message(received: str | None, settings: ServiceSettings) -> SessionMessage:
    """A message as its schema has it; raises `HTTPException` 400, 413 or 422."""
    if received is None:
        raise HTTPException(422, "Send JSON in text messages, not in binary ones.")
    data = received.encode()
    if len(data) > settings.max_message_bytes:
        raise HTTPException(
            413,
            f"A message of {len(data)} bytes; send at most {settings.max_message_bytes} at a time.",
        )
    return parse(SessionMessage, data)


def _options(query: QueryParams) -> SessionOptions:
    try:
        return SessionOptions.model_validate(dict(query))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise HTTPException(422, describe(list(errors))) from error


async def _send(websocket: WebSocket, message: bytes) -> None:
    await websocket.send_text(message.decode())


def _error(error: HTTPException) -> bytes:
    return orjson.dumps({"error": problem(error.status_code, error.detail)})


async def _refuse(websocket: WebSocket, error: HTTPException) -> None:
    """Says why the session ends, and ends it."""
    with contextlib.suppress(WebSocketDisconnect):
        await _send(websocket, _error(error))
        await websocket.close(_CLOSE_CODE + error.status_code)
