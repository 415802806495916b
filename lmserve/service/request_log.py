"""The service's log: a line for every request, as JSON or for people, on standard error.

Texts and keys are never in it: its lines have the members below and no others.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from lmserve.service.protection_settings import LogFormat
from lmserve.service.request_record import RequestRecord

_FIELDS = "fields"
_REQUESTS = logging.getLogger("lmserve.service.requests")


class JsonFormatter(logging.Formatter):
    """A line of JSON: time, level, message, then what is known of the request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        } | getattr(record, _FIELDS, {"logger": record.name})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """A line for people: time, level, message, `name=value` of what is known of the request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        fields = getattr(record, _FIELDS, {})
        parts = [_time(record), f"{record.levelname:7}", record.getMessage()]
        parts += [f"{name}={value}" for name, value in fields.items()]
        if record.exc_info:
            parts.append("\n" + self.formatException(record.exc_info))
        return " ".join(parts)


def start_log(log_format: LogFormat) -> None:
    """Has this process log what lmserve does in this format; `none` leaves logging as it is."""
    if log_format == "none":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    lmserve = logging.getLogger("lmserve")
    lmserve.handlers = [handler]
    lmserve.setLevel(logging.INFO)
    lmserve.propagate = False


def log_request(
    record: RequestRecord, *, method: str, duration_s: float, with_address: bool
) -> None:
    """Logs an answered request; one whose answer broke off has `complete` false."""
    if not _REQUESTS.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "request_id": record.request_id,
        "method": method,
        "route": record.route,
        "status": record.status,
        "duration_ms": round(1000 * duration_s, 3),
        "texts": record.texts,
        "words": record.words,
        "complete": record.complete,
    }
    if record.caller is not None:
        fields["key"] = record.caller
    if record.refused is not None:
        fields["refused"] = record.refused
    if with_address:
        fields["client"] = record.address
    level = logging.ERROR if record.status >= 500 and not record.refused else logging.INFO
    _REQUESTS.log(level, "request", extra={_FIELDS: fields})


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
