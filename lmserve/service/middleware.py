"""What happens around every request: its identifier, its metrics, its log and its last resort."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmserve.service import request_record, tracing
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.problems import problem_response
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.request_log import log_request
from lmserve.service.request_record import RequestRecord, client_address
from lmserve.service.stalling import StalledClientError, unless_stalled
from lmserve.service.traffic import Traffic, route_of

REQUEST_ID_HEADER = "X-Request-ID"
# What may go into logs and headers as it is.
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
# The status that nginx made customary for a client that left before the answer began.
_CLIENT_CLOSED_REQUEST = 499
_SWITCHING_PROTOCOLS = 101
# What tells an answer's status, and what may be its last message.
_STARTS = {"http.response.start", "websocket.http.response.start"}
_BODIES = {"http.response.body", "websocket.http.response.body"}

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """Identifies, counts, times and logs requests, and answers errors that nobody expected.

    Plain ASGI, as Starlette's `BaseHTTPMiddleware` comes between a stream and its client.

    Args:
        app: what answers.
        metrics: told of every request.
        echo_request_id: whether answers have the header X-Request-ID.
        protection: what the log tells, and how long clients may stall.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: ServiceMetrics,
        echo_request_id: bool,
        protection: ProtectionSettings,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._echo_request_id = echo_request_id
        self._protection = protection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = RequestRecord(
            request_id=_request_id(headers),
            address=client_address(headers, scope, self._protection.forwarded_hops),
        )
        state = scope.setdefault("state", {})
        state["request_id"] = record.request_id
        state["record"] = record
        request_record.begin(record)
        traffic = Traffic(scope, self._metrics)
        # A WebSocket's handshake is a GET.
        method = scope.get("method", "GET")
        started_s = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            with tracing.request_span(headers, method, record):
                try:
                    await self._answer(
                        scope, traffic.receiving(receive), traffic.sending(send), record
                    )
                finally:
                    record.route = route_of(scope)
        finally:
            self._metrics.in_flight.dec()
            traffic.tell()
            duration_s = time.perf_counter() - started_s
            self._observe(record, duration_s)
            with_address = self._protection.log_client_address
            log_request(record, method=method, duration_s=duration_s, with_address=with_address)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, record: RequestRecord
    ) -> None:
        send = unless_stalled(send, self._protection.max_stall_s)

        async def send_identified(message: Message) -> None:
            if message["type"] in _STARTS:
                record.status = message["status"]
                if self._echo_request_id:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = record.request_id
            elif message["type"] == "websocket.accept":
                record.status = _SWITCHING_PROTOCOLS
            if message["type"] in _BODIES and not message.get("more_body"):
                # Before it: whoever has an answer is counted, even if this process is killed now.
                record.route = route_of(scope)
                self._count(record)
            await send(message)
            if message["type"] in _BODIES:
                record.complete = not message.get("more_body")

        try:
            await self._app(scope, receive, send_identified)
            # A WebSocket has no last message: it is complete where its route has ended in order.
            record.complete = record.complete or scope["type"] == "websocket"
        except (ClientDisconnect, asyncio.CancelledError) as error:
            record.status = record.status or _CLIENT_CLOSED_REQUEST
            if isinstance(error, asyncio.CancelledError):
                raise
        except StalledClientError:
            # Servers close the connection of an answer that is not complete.
            self._metrics.stalled_clients.inc()
        except Exception:
            logger.exception("request %s failed", record.request_id)
            if record.status or scope["type"] == "websocket":
                # Only a connection that breaks tells the client that the answer is incomplete.
                raise
            detail = "The server failed; its log tells more about this request_id."
            response = problem_response(500, detail, request_id=record.request_id)
            await response(scope, receive, send_identified)

    def _observe(self, record: RequestRecord, seconds: float) -> None:
        if not record.complete:
            # Servers have exceptions of their own for a client that left; the answer tells.
            self._metrics.disconnects.inc()
        if record.refused is not None:
            self._metrics.refused_requests.labels(record.refused).inc()
        self._count(record)
        exemplar = {"trace_id": record.trace_id} if record.trace_id else None
        self._metrics.request_duration.labels(record.route).observe(seconds, exemplar)

    def _count(self, record: RequestRecord) -> None:
        if not record.counted:
            record.counted = True
            self._metrics.requests.labels(record.route, record.status).inc()


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
