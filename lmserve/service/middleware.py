"""What happens around every request: its identifier, its metrics and its last resort."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmserve.service.metrics import ServiceMetrics
from lmserve.service.problems import problem_response

REQUEST_ID_HEADER = "X-Request-ID"
# What may go into logs and headers as it is.
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
# The status that nginx made customary for a client that left before the answer began.
_CLIENT_CLOSED_REQUEST = 499

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """Identifies, counts and times requests, and answers errors that nobody expected.

    Plain ASGI, as Starlette's `BaseHTTPMiddleware` comes between a stream and its client.

    Args:
        app: what answers.
        metrics: told of every request.
        echo_request_id: whether answers have the header X-Request-ID.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics, echo_request_id: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._echo_request_id = echo_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {})["request_id"] = _request_id(scope)
        status = 0
        complete = False

        async def send_identified(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echo_request_id:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body")

        started_s = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_identified)
        except (ClientDisconnect, asyncio.CancelledError) as error:
            status = status or _CLIENT_CLOSED_REQUEST
            if isinstance(error, asyncio.CancelledError):
                raise
        except Exception:
            logger.exception("request %s failed", request_id)
            if status:
                # Only a connection that breaks tells the client that the answer is incomplete.
                raise
            detail = "The server failed; its log tells more about this request_id."
            response = problem_response(500, detail, request_id=request_id)
            await response(scope, receive, send_identified)
        finally:
            self._metrics.in_flight.dec()
            if not complete:
                # Servers have exceptions of their own for a client that left; the answer tells.
                self._metrics.disconnects.inc()
            self._observe(scope, status, time.perf_counter() - started_s)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's template, as paths are the client's to choose and labels must stay few.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, status).inc()
        self._metrics.request_duration.labels(route).observe(seconds)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
