"""Counting the bytes of requests and answers, for next to nothing on streams."""

from starlette.types import Message, Receive, Scope, Send

from lmserve.service.metrics import ServiceMetrics

# Bytes of one request that are told at once: its route's counters cost as much as a small message.
_TOLD_BYTES = 1 << 18


class Traffic:
    """The bytes of one request's body and of its answer's; of a WebSocket, of its messages.

    Args:
        scope: of the request; its route is known before anything is read or sent.
        metrics: told now and then, and of the rest at the end.
    """

    def __init__(self, scope: Scope, metrics: ServiceMetrics) -> None:
        self._scope = scope
        self._metrics = metrics
        self._received = self._sent = 0

    def receiving(self, receive: Receive) -> Receive:
        """The same, counted."""

        async def receive_counted() -> Message:
            message = await receive()
            self._received += _size(message)
            if self._received > _TOLD_BYTES:
                self.tell()
            return message

        return receive_counted

    def sending(self, send: Send) -> Send:
        """The same, counted."""

        async def send_counted(message: Message) -> None:
            await send(message)
            self._sent += _size(message)
            if self._sent > _TOLD_BYTES:
                self.tell()

        return send_counted

    def tell(self) -> None:
        """Tells what was not told yet."""
        route = route_of(self._scope)
        if self._received:
            self._metrics.received_bytes.labels(route).inc(self._received)
        if self._sent:
            self._metrics.sent_bytes.labels(route).inc(self._sent)
        self._received = self._sent = 0


def route_of(scope: Scope) -> str:
    """The route's template: paths are the client's to choose, labels must stay few."""
    route: str = getattr(scope.get("route"), "path", "other")
    return route


def _size(message: Message) -> int:
    """Bytes of a message's content."""
    if text := message.get("text"):
        return len(text.encode())
    content = message.get("body") or message.get("bytes") or b""
    # What the edge is told of windows has a number there.
    return 0 if isinstance(content, int) else len(content)
