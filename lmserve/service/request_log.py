"""The service's log: a line for every request, as JSON or for people, on standard error.

Texts and keys are never in it: its lines have the members below and no others.
"""

import logging
from typing import Any

from lmserve.logs import FIELDS, JsonFormatter, TextFormatter, log_to_standard_error
from lmserve.service import tracing
from lmserve.service.protection_settings import LogFormat
from lmserve.service.request_record import RequestRecord

_REQUESTS = logging.getLogger("lmserve.service.requests")


def start_log(log_format: LogFormat) -> None:
    """Has this process log what lmserve does in this format; `none` leaves logging as it is."""
    if log_format == "none":
        return
    log_to_standard_error(JsonFormatter() if log_format == "json" else TextFormatter())


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
        "replica": tracing.instance_id(),
    }
    if record.trace_id is not None:
        fields["trace_id"] = record.trace_id
    if record.caller is not None:
        fields["key"] = record.caller
    if record.refused is not None:
        fields["refused"] = record.refused
    if with_address:
        fields["client"] = record.address
    level = logging.ERROR if record.status >= 500 and not record.refused else logging.INFO
    _REQUESTS.log(level, "request", extra={FIELDS: fields})
