"""The log of a process: a line for every event, as JSON or for people, on standard error."""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

# The attribute of a log record that holds what is known of the event.
FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """A line of JSON: time, level, message, then what is known of the event.

    Args:
        context: what is known of every event.
    """

    def __init__(self, context: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._context = dict(context or {})

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **self._context,
        } | getattr(record, FIELDS, {"logger": record.name})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY).decode()


class TextFormatter(logging.Formatter):
    """A line for people: time, level, message, `name=value` of what is known of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        fields = getattr(record, FIELDS, {})
        parts = [_time(record), f"{record.levelname:7}", record.getMessage()]
        parts += [f"{name}={value}" for name, value in fields.items()]
        if record.exc_info:
            parts.append("\n" + self.formatException(record.exc_info))
        return " ".join(parts)


def log_to_standard_error(formatter: logging.Formatter) -> None:
    """Has this process log what lmserve does, in this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    lmserve = logging.getLogger("lmserve")
    lmserve.handlers = [handler]
    lmserve.setLevel(logging.INFO)
    lmserve.propagate = False


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
