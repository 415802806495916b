"""How a replica ends: no new requests, the present ones to their end, streams up to a bound."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmserve.service.operation_routes import OPERATION_PATHS
from lmserve.service.refusing import refuse
from lmserve.service.shutdown import Shutdown

# RFC 6455's registry: the service restarts, connect again.
_SERVICE_RESTART = 1012
_RETRY_AFTER_S = "1"
_LOOK_INTERVAL_S = 0.5


class DrainingMiddleware:
    """Refuses new requests and ends streams once the replica shuts down.

    Args:
        app: what answers.
        shutdown: knows when that is.
    """

    def __init__(self, app: ASGIApp, *, shutdown: Shutdown) -> None:
        self._app = app
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPERATION_PATHS:
            await self._app(scope, receive, send)
        elif self._shutdown.refuses:
            await refuse(
                scope,
                receive,
                send,
                status=503,
                detail="This replica is shutting down; try again.",
                reason="draining",
                headers={"Retry-After": _RETRY_AFTER_S, "Connection": "close"},
            )
        elif scope["type"] == "http":
            await self._app(scope, self._body_until_end(receive), send)
        else:
            await self._app(scope, self._messages_until_end(receive, send), send)

    def _body_until_end(self, receive: Receive) -> Receive:
        """The body, or 503 in its place where the replica's time is over."""
        complete = False

        async def receive_body() -> Message:
            nonlocal complete
            if complete:
                # Who listens for the client's leaving is not to be disturbed.
                return await receive()
            try:
                async with self._shutdown.end():
                    message = await receive()
            except TimeoutError as error:
                detail = "This replica is shutting down; resume with this line on another."
                headers = {"Retry-After": _RETRY_AFTER_S, "Connection": "close"}
                raise HTTPException(503, detail, headers) from error
            complete = not message.get("more_body")
            return message

        return receive_body

    def _messages_until_end(self, receive: Receive, send: Send) -> Receive:
        """A WebSocket's messages; at the end of the replica's time, it is closed on both sides."""

        async def receive_message() -> Message:
            try:
                async with self._shutdown.end():
                    return await receive()
            except TimeoutError:
                reason = "shutting down"
                close = {"type": "websocket.close", "code": _SERVICE_RESTART, "reason": reason}
                await send(close)
                return {"type": "websocket.disconnect", "code": _SERVICE_RESTART}

        return receive_message


@asynccontextmanager
async def beginning(
    shutdown: Shutdown, shutting_down: Callable[[], bool] | None
) -> AsyncIterator[None]:
    """Begins the shutdown when the server does, within the block.

    Servers tell an application that they shut down when its last request has ended, which a stream
    might never do.

    Args:
        shutdown: what to begin.
        shutting_down: asked now and then. New requests are not refused: such a server stops sending
            them, and wants those on their way answered. None: signals tell, and they are.
    """
    if shutting_down is None:
        with _on_signals(shutdown):
            yield
        return
    following = asyncio.create_task(_follow(shutting_down, shutdown))
    try:
        yield
    finally:
        following.cancel()


async def _follow(shutting_down: Callable[[], bool], shutdown: Shutdown) -> None:
    while not shutting_down():
        await asyncio.sleep(_LOOK_INTERVAL_S)
    shutdown.begin(refusing=False)


@contextmanager
def _on_signals(shutdown: Shutdown) -> Iterator[None]:
    """Has SIGTERM and SIGINT begin the shutdown, and then do what the server wants of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous: dict[int, Callable[[int, FrameType | None], object]] = {}

    def begin(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(shutdown.begin)
        previous[number](number, frame)

    for number in (int(signal.SIGTERM), int(signal.SIGINT)):
        handler = signal.getsignal(number)
        if callable(handler):
            previous[number] = handler
            signal.signal(number, begin)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is begin:
                signal.signal(number, handler)
