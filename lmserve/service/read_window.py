"""Back-pressure through servers that have none between a client and its application.

Ray Serve takes in whatever a client sends, whether or not the application reads it, and whatever
the application answers, whether or not the client reads it. `WindowMiddleware` stands at the
server's edge, where both ways still are a connection that can be made to wait: it takes no more of
a client than a window ahead of what the application has read. That the application tells by
messages among those of its answer (`AcknowledgingMiddleware`). As these pass the edge in order,
what a client does not read of its answers holds up the next window, too: a stream takes bounded
memory.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmserve.service.stalling import unless_stalled

_EXTENSION = "lmserve.read_window"
_ACKNOWLEDGEMENT = "lmserve.read"
# Acknowledgements of a window: fewer would let the client wait for them.
_PER_WINDOW = 4


class WindowMiddleware:
    """Holds clients back at the edge.

    Args:
        app: the server's way to the application.
        window_bytes: what a client may send ahead of the application.
        max_stall_s: longest wait for a client that takes nothing of its answer.
    """

    def __init__(self, app: ASGIApp, *, window_bytes: int, max_stall_s: float) -> None:
        self._app = app
        self._window_bytes = window_bytes
        self._max_stall_s = max_stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        send = unless_stalled(send, self._max_stall_s)
        unread_bytes = 0
        within = asyncio.Event()
        within.set()

        async def receive_within() -> Message:
            nonlocal unread_bytes
            await within.wait()
            message = await receive()
            unread_bytes += _size(message)
            if unread_bytes > self._window_bytes:
                within.clear()
            return message

        async def send_rest(message: Message) -> None:
            nonlocal unread_bytes
            if message["type"] != _ACKNOWLEDGEMENT:
                await send(message)
                return
            unread_bytes -= message["bytes"]
            if unread_bytes <= self._window_bytes:
                within.set()

        extension = {_EXTENSION: {"window_bytes": self._window_bytes}}
        scope["extensions"] = scope.get("extensions", {}) | extension
        await self._app(scope, receive_within, send_rest)


class AcknowledgingMiddleware:
    """Tells the edge, where there is a `WindowMiddleware`, how much the application has read.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        extension = scope.get("extensions", {}).get(_EXTENSION)
        if extension is None:
            await self._app(scope, receive, send)
            return
        each_bytes = extension["window_bytes"] // _PER_WINDOW
        read_bytes = 0

        async def receive_acknowledging() -> Message:
            nonlocal read_bytes
            if read_bytes > each_bytes:
                await send({"type": _ACKNOWLEDGEMENT, "bytes": read_bytes})
                read_bytes = 0
            message = await receive()
            read_bytes += _size(message)
            return message

        await self._app(scope, receive_acknowledging, send)


def _size(message: Message) -> int:
    """Bytes that a client's message takes; characters of a text."""
    return sum(len(message.get(name) or b"") for name in ("body", "bytes", "text"))
