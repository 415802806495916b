"""What stands between a request and the routes, from the outside in."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from lmserve.service.admission import AdmissionMiddleware
from lmserve.service.authentication import AuthenticationMiddleware
from lmserve.service.draining import DrainingMiddleware
from lmserve.service.keys import KeyRing
from lmserve.service.limiting import RateLimitMiddleware
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.rate_limits import RateLimiter
from lmserve.service.read_window import AcknowledgingMiddleware
from lmserve.service.security_headers import SecurityHeadersMiddleware
from lmserve.service.shutdown import Shutdown

# What pages of other origins may send, and read of answers.
_REQUEST_HEADERS = ("Authorization", "Content-Type", "X-Request-ID", "traceparent")
_ANSWER_HEADERS = ("X-Request-ID", "X-Model-Digest", "Retry-After", "RateLimit", "RateLimit-Policy")


def protect(
    app: FastAPI,
    settings: ProtectionSettings,
    *,
    metrics: ServiceMetrics,
    shutdown: Shutdown,
    limiter: RateLimiter,
    keys: KeyRing | None,
) -> None:
    """Adds what the settings demand; the last one added is the outermost.

    Args:
        app: the application.
        settings: what is demanded and granted.
        metrics: told of refusals.
        shutdown: knows when the replica shuts down.
        limiter: keeps rate limits.
        keys: the keys; None leaves the service open.
    """
    app.add_middleware(AdmissionMiddleware, metrics=metrics, settings=settings)
    app.add_middleware(RateLimitMiddleware, limiter=limiter, metrics=metrics, settings=settings)
    if keys is not None:
        app.add_middleware(AuthenticationMiddleware, keys=keys, open_paths=settings.open_paths)
    app.add_middleware(DrainingMiddleware, shutdown=shutdown)
    if settings.allowed_origins:
        # Before keys are asked for: browsers ask for permission without one.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_ANSWER_HEADERS,
        )
    if settings.security_headers:
        app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(AcknowledgingMiddleware)
