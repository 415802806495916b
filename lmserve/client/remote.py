"""Where a service is, what every request to it carries, and what its errors say."""

import gzip
import os
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypedDict
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import WebSocketException

from lmserve.client.calls import Call, ProblemError, Reply, Request, Result, read_object
from lmserve.client.one_model import Scored
from lmserve.client.retrying import Retry, is_passing, retry_after_s
from lmserve.errors import OptionError, ServiceError

API_KEY_VARIABLE = "LMSERVE_API_KEY"
# What httpx raises of its own accord; UnicodeError is for host names that cannot be one, and
# TimeoutError for deadlines.
CONNECTION_ERRORS = (httpx.RequestError, httpx.InvalidURL, UnicodeError, TimeoutError)

_PROBLEM = "application/problem+json"
_REMEDIES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: f"Give the key as api_key, or set {API_KEY_VARIABLE}.",
    HTTPStatus.FORBIDDEN: "Ask for a key that may do this.",
    HTTPStatus.TOO_MANY_REQUESTS: "Ask less often, or give Retry a later deadline.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Try again later, or give Retry a later deadline.",
}


class Head(Protocol):
    """How an answer begins, on HTTP or in place of a WebSocket."""

    @property
    def status_code(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in whatever case."""


class Options(TypedDict, total=False):
    """How a client works.

    Attributes:
        api_key: sent as bearer token; without one, what LMSERVE_API_KEY says.
        verify: the certificates that the service's may be signed by: those of the system, or those
            in a file (a `Path`), or a context of one's own; False accepts any.
        timeout_s: the longest silence of the service that is waited for.
        retry: when a request is tried again.
        in_flight: requests of one stream that are under way at once.
        gzip_bytes: bodies at least as long are compressed; None compresses none.
    """

    api_key: str | None
    verify: ssl.SSLContext | Path | bool
    timeout_s: float
    retry: Retry
    in_flight: int
    gzip_bytes: int | None


class Remote:
    """A service, as clients see it.

    Args:
        url: of the service, such as "http://127.0.0.1:8000".

    Raises:
        ServiceError: `url` is none.
        OptionError: an option outside its range, or a file without certificates.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url = _parsed(url)
        self._shown = str(self._url.copy_with(userinfo=b""))
        key = options.get("api_key") or os.environ.get(API_KEY_VARIABLE)
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.tls = (
            _tls_context(options.get("verify", True))
            if self._url.scheme == "https"
            # Trusts nobody; to read the system's certificates takes some 50 ms.
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self.timeout_s: float = options.get("timeout_s", 60.0)
        self.retry: Retry = options.get("retry", Retry())
        self.in_flight: int = options.get("in_flight", 2)
        self._gzip_bytes: int | None = options.get("gzip_bytes")
        if self.in_flight < 1:
            raise OptionError(f"in_flight is {self.in_flight}", "Give at least 1 request.")

    def http_options(self) -> dict[str, Any]:
        """How to make httpx's client."""
        return {"base_url": self._url, "headers": self.headers, "verify": self.tls}

    def websocket_url(self, path: str, query: Mapping[str, Any]) -> str:
        """Where a WebSocket is, with the path of the service's URL."""
        scheme = "wss" if self._url.scheme == "https" else "ws"
        below = self._url.path.rstrip("/") + path
        return str(self._url.copy_with(scheme=scheme, path=below, params=query))

    def request(self, call: Request, left_s: float) -> dict[str, Any]:
        """How to make httpx's request.

        Args:
            call: what is asked.
            left_s: until the deadline.
        """
        body = call.body
        headers = {"Content-Type": call.content_type} if body else {}
        if body and self._gzip_bytes is not None and len(body) >= self._gzip_bytes:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        return {
            "method": call.method,
            "url": call.path,
            "content": body,
            "headers": headers,
            "timeout": min(self.timeout_s, left_s),
        }

    def read(self, call: Call[Result], answer: httpx.Response, body: bytes) -> Result:
        """The result of a call; raises `ServiceError`."""
        if answer.status_code != HTTPStatus.OK:
            raise self.refused(answer, body, call.subject)
        try:
            return call.read(Reply(body, answer.headers))
        except ProblemError as error:
            raise self.refused_within(error.problem, call.subject) from error
        except ValueError as error:
            raise self.broken(error, call.subject) from error

    def check(self, scored: Scored[Any]) -> None:
        """Raises `ServiceError` where one of the texts was refused."""
        if scored.problem is not None:
            raise self.refused_within(scored.problem, str(scored.refused))

    def refused(self, answer: Head, body: bytes, subject: str) -> ServiceError:
        """What an answer of another status than 200 means."""
        status, headers = answer.status_code, answer.headers
        own = headers.get("Content-Type", "").startswith(_PROBLEM)
        problem = _problem(body) if own else {}
        return self._refusal(
            status,
            str(problem.get("detail", body[:1000].decode(errors="replace"))),
            subject,
            request_id=problem.get("request_id", headers.get("X-Request-ID")),
            passing=is_passing(status, own=own),
            retry_after_s=retry_after_s(headers.get("Retry-After")),
        )

    def refused_within(self, problem: Any, subject: str) -> ServiceError:
        """What a problem on a WebSocket, or in the midst of an answer, means."""
        if not isinstance(problem, dict) or not isinstance(problem.get("status"), int):
            return self.broken(ValueError(f"{problem!r:.100} is no problem"), subject)
        status = problem["status"]
        return self._refusal(
            status,
            str(problem.get("detail")),
            subject,
            request_id=problem.get("request_id"),
            # What was idle for long is ended, and can go on.
            passing=is_passing(status, own=True) or status == HTTPStatus.REQUEST_TIMEOUT,
        )

    def broken(self, error: Exception, subject: str) -> ServiceError:
        """What it means that no answer came, or half of one, or something else."""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return ServiceError(
                f"the certificate of {self._shown} is not to be trusted: {error}",
                "Give the certificate that signed it: verify=Path('ca.pem').",
            )
        return ServiceError(
            f"{self._shown} does not answer {subject}, or broke off: {error!r}",
            "Check that the service runs ('lmserve serve MODEL') and that the URL is its own.",
            passing=isinstance(error, httpx.TransportError | WebSocketException | OSError),
        )

    def _refusal(self, status: int, detail: str, subject: str, **rest: Any) -> ServiceError:
        return ServiceError(
            f"{self._shown} answered {status} to {subject}: {detail}",
            _REMEDIES.get(status, "The answer says what to change."),
            status=status,
            detail=detail,
            **rest,
        )


def _problem(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body)
    except ValueError:
        return {}


def _parsed(url: str) -> httpx.URL:
    try:
        # Stricter than httpx about hosts and ports.
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        parsed = httpx.URL(url)
    except (ValueError, httpx.InvalidURL):  # ValueError is also for ports that are no number.
        usable = False
    if not usable:
        raise ServiceError(f"{url!r} is no URL", "Give one like http://127.0.0.1:8000.")
    return parsed


def _tls_context(verify: ssl.SSLContext | Path | bool) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify)
    try:
        return ssl.create_default_context(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        raise OptionError(
            f"{verify} cannot be read as certificates: {error}", "Give a file in PEM format."
        ) from error
