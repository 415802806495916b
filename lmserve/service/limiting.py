"""Rate limits before every route: requests when they begin, words as they are scored."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmserve.service import request_record
from lmserve.service.keys import ApiKey
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.operation_routes import OPERATION_PATHS
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.rate_limits import Limit, RateLimiter, Taken, wait_s
from lmserve.service.refusing import refuse

# A stream that is ahead of its limit by more than this is ended.
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What one client may use.

    Attributes:
        client: name of its buckets.
        requests: limit of its requests.
        words: limit of the words scored for it.
    """

    client: str
    requests: Limit | None
    words: Limit | None


def allowance(
    client: str,
    *,
    requests_per_s: float | None,
    burst: int | None,
    words_per_min: float | None,
) -> Allowance:
    """The limits of a client; by default as many requests at once as a second brings, at least 1.

    Of words a minute's number may come at once.
    """
    requests = words = None
    if requests_per_s is not None:
        capacity = burst or max(1, ceil(requests_per_s))
        requests = Limit(name="requests", per_s=requests_per_s, capacity=capacity)
    if words_per_min is not None:
        words = Limit(name="words", per_s=words_per_min / 60, capacity=words_per_min)
    return Allowance(client=client, requests=requests, words=words)


class RateLimitMiddleware:
    """Refuses requests of clients that have used up what they may.

    Args:
        app: what answers.
        limiter: keeps the buckets.
        metrics: told of every refusal.
        settings: limits of clients without keys.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter: RateLimiter,
        metrics: ServiceMetrics,
        settings: ProtectionSettings,
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPERATION_PATHS:
            await self._app(scope, receive, send)
            return
        allowed = self._allowance(scope)
        held: list[tuple[Limit, Taken]] = []
        for limit, cost in ((allowed.requests, 1), (allowed.words, 0)):
            if limit is None:
                continue
            taken = await self._limiter.take(f"{allowed.client}:{limit.name}", limit, cost)
            held.append((limit, taken))
            if not taken.allowed:
                await self._refuse(scope, receive, send, held, wait_s(limit, taken, cost))
                return
        send = _telling(send, _headers(held)) if held else send
        if allowed.words is None:
            await self._app(scope, receive, send)
            return
        meter = _Meter(self._limiter, allowed.client, allowed.words, scope)
        try:
            await self._app(scope, meter.metered(receive), send)
        finally:
            await meter.pay()

    def _allowance(self, scope: Scope) -> Allowance:
        key: ApiKey | None = scope["state"].get("key")
        if key is not None:
            return allowance(
                f"key:{key.name}",
                requests_per_s=key.requests_per_s,
                burst=key.burst,
                words_per_min=key.words_per_min,
            )
        return allowance(
            f"address:{request_record.of(scope).address}",
            requests_per_s=self._settings.client_requests_per_s,
            burst=self._settings.client_burst,
            words_per_min=self._settings.client_words_per_min,
        )

    async def _refuse(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        held: Sequence[tuple[Limit, Taken]],
        wait_seconds: float,
    ) -> None:
        limit, _ = held[-1]
        self._metrics.rate_limited.labels(limit.name).inc()
        seconds = max(1, ceil(wait_seconds))
        await refuse(
            scope,
            receive,
            send,
            status=429,
            detail=_too_many(limit, seconds),
            reason="rate_limited",
            headers=_headers(held) | {"Retry-After": str(seconds)},
        )


class _Meter:
    """Takes the words of one request from its bucket: before each message that it asks for."""

    def __init__(self, limiter: RateLimiter, client: str, limit: Limit, scope: Scope) -> None:
        self._limiter = limiter
        self._bucket = f"{client}:{limit.name}"
        self._limit = limit
        self._record = request_record.of(scope)
        self._may_raise = scope["type"] == "http"
        self._paid_words = 0

    async def pay(self) -> float:
        """Takes what is not yet paid; returns the seconds until there is no debt."""
        words = self._record.words - self._paid_words
        if not words:
            return 0.0
        self._paid_words += words
        taken = await self._limiter.take(self._bucket, self._limit, words, on_credit=True)
        return wait_s(self._limit, taken, 0)

    def metered(self, receive: Receive) -> Receive:
        """Lets the client wait until its debt is paid, or ends a stream where that takes long."""

        async def receive_paid() -> Message:
            seconds = await self.pay()
            if seconds > _LONGEST_WAIT_S and self._may_raise:
                detail = _too_many(self._limit, ceil(seconds)) + " Resume with this line."
                raise HTTPException(429, detail)
            if seconds:
                await asyncio.sleep(seconds)
            message = await receive()
            # Who listens for the client's leaving after the body is not to be disturbed.
            self._may_raise = self._may_raise and bool(message.get("more_body"))
            return message

        return receive_paid


def _too_many(limit: Limit, seconds: int) -> str:
    return (
        f"More {limit.name} than {limit.per_s * 60:g} a minute, {limit.capacity:g} of them at "
        f"once; wait {seconds} s."
    )


def _headers(held: Sequence[tuple[Limit, Taken]]) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers."""
    policies = [
        f'"{limit.name}";q={limit.capacity:.0f};w={ceil(limit.capacity / limit.per_s)}'
        for limit, _ in held
    ]
    rests = []
    for limit, taken in held:
        full_s = ceil(wait_s(limit, taken, limit.capacity))
        rests.append(f'"{limit.name}";r={max(0, int(taken.level))};t={full_s}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(rests)}


def _telling(send: Send, headers: dict[str, str]) -> Send:
    async def send_telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return send_telling
