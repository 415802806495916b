"""Who may use the service, how much of it, and what it tells about them.

Each setting is also an environment variable: `LMSERVE_` and its name in capitals, such as
`LMSERVE_MAX_CONCURRENT`; several values are separated by commas.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lmserve.errors import OptionError

VARIABLE_PREFIX = "LMSERVE_"
LogFormat = Literal["none", "json", "text"]

_ABOVE_0 = ("max_queue_s", "max_stall_s", "client_requests_per_s", "client_words_per_min")
_AT_LEAST = {
    "max_concurrent": 1,
    "client_burst": 1,
    "max_text_words": 1,
    "max_queued": 0,
    "drain_s": 0,
    "forwarded_hops": 0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtectionSettings:
    """What one replica demands of its clients, and grants them.

    Attributes:
        api_keys_file: named keys, see `lmserve.service.keys`; without one, the service is open.
        open_paths: paths that need no key; one that ends with `*` stands for all that begin so.
        client_requests_per_s: of each client address, where there are no keys; None: any.
        client_burst: requests that a client address may send at once.
        client_words_per_min: words scored for each client address, where there are no keys.
        forwarded_hops: proxies before the service that add the address of their client to
            X-Forwarded-For; 0 believes the connection alone.
        max_concurrent: requests worked on at a time, streams and WebSockets included.
        max_queued: requests that wait for that; more are refused.
        max_queue_s: longest wait.
        max_stall_s: longest wait for a client that takes nothing of its answer.
        max_text_words: longest text, in words; None: as long as bodies and lines may be.
        drain_s: time that requests in flight have to end when the replica shuts down.
        allowed_origins: web sites whose pages may use the service from browsers (CORS), like
            `https://example.org`; `*` allows all.
        security_headers: whether answers have headers that restrict what browsers do with them.
        log_format: of the log's line for every request.
        log_client_address: whether that line names the client's address.

    Raises:
        OptionError: a value outside its range.
    """

    api_keys_file: str | None = None
    open_paths: tuple[str, ...] = (
        "/healthz",
        "/readyz",
        "/metrics",
        # The page, which asks for a key itself, and the interface's description.
        "/",
        "/page/*",
        "/docs",
        "/openapi.json",
    )
    client_requests_per_s: float | None = None
    client_burst: int | None = None
    client_words_per_min: float | None = None
    forwarded_hops: int = 0
    max_concurrent: int = 256
    max_queued: int = 256
    max_queue_s: float = 5.0
    max_stall_s: float = 60.0
    max_text_words: int | None = None
    drain_s: float = 10.0
    allowed_origins: tuple[str, ...] = ()
    security_headers: bool = True
    log_format: LogFormat = "none"
    log_client_address: bool = False

    def __post_init__(self) -> None:
        for name in _ABOVE_0:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise OptionError(f"{name} is {value}", f"Give {name} a number above 0.")
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise OptionError(
                    f"{name} is {value}", f"Give {name} a number of at least {least}."
                )
        if self.client_burst is not None and self.client_requests_per_s is None:
            raise OptionError(
                f"client_burst is {self.client_burst} without client_requests_per_s",
                "Give client_requests_per_s, too: a burst is what may come at once of that.",
            )


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return VARIABLE_PREFIX + name.upper()


def variables(settings: ProtectionSettings) -> dict[str, str]:
    """The environment from which `protection_from` makes these settings; defaults are left out."""
    given = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            given[variable(field.name)] = text
    return given


def protection_from(environment: Mapping[str, str] = os.environ) -> ProtectionSettings:
    """The settings that an environment has; what it has not is as by default.

    Raises:
        OptionError: a variable that is no value of its setting.
    """
    kinds = get_type_hints(ProtectionSettings)
    given = {}
    for field in fields(ProtectionSettings):
        if text := environment.get(variable(field.name)):
            several = kinds[field.name] == tuple[str, ...]
            value = [part.strip() for part in text.split(",")] if several else text
            try:
                given[field.name] = TypeAdapter(kinds[field.name]).validate_python(value)
            except ValidationError as error:
                raise OptionError(
                    f"{variable(field.name)} is {text!r}: {error.errors()[0]['msg']}",
                    f"Correct it, or leave it out for {field.default!r}.",
                ) from error
    return ProtectionSettings(**given)
