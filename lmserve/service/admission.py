"""How many requests are worked on at a time; the others wait, or are told to come back."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from lmserve.service.metrics import ServiceMetrics
from lmserve.service.operation_routes import OPERATION_PATHS
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.refusing import refuse

_RETRY_AFTER_S = "1"


class AdmissionMiddleware:
    """Keeps a replica from taking on more than it can finish.

    A refusal costs little: those who are admitted are answered about as fast as without the others.

    Args:
        app: what answers.
        metrics: told how many wait.
        settings: how many may, and how long.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: ServiceMetrics, settings: ProtectionSettings
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._places = asyncio.Semaphore(settings.max_concurrent)
        self._max_queued = settings.max_queued
        self._max_queue_s = settings.max_queue_s
        self._queued = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPERATION_PATHS:
            await self._app(scope, receive, send)
        elif await self._admitted():
            try:
                await self._app(scope, receive, send)
            finally:
                self._places.release()
        else:
            await refuse(
                scope,
                receive,
                send,
                status=503,
                detail="The service is working on as many requests as it can; try again.",
                reason="overloaded",
                headers={"Retry-After": _RETRY_AFTER_S},
            )

    async def _admitted(self) -> bool:
        if not self._places.locked():
            return await self._places.acquire()
        if self._queued >= self._max_queued:
            return False
        self._queued += 1
        self._metrics.queued.inc()
        try:
            async with asyncio.timeout(self._max_queue_s):
                return await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self._queued -= 1
            self._metrics.queued.dec()
