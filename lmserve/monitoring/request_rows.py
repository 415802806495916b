"""The service's rows about requests."""

from lmserve.metrics import service_metrics as m
from lmserve.monitoring.expressions import QUANTILES, Chosen, or_zero
from lmserve.monitoring.layout import Line, Row
from lmserve.monitoring.panels import curves

SERVICE = Chosen({"name": "model"})
_FAILED = or_zero(SERVICE.rate(m.REQUESTS, status="5.."))
ERROR_RATIO = f"({_FAILED}) / {SERVICE.rate(m.REQUESTS)}"


def requests_row() -> Row:
    """How many, how fast, how many not, and why."""
    return Row("Requests", (_outcomes(), _latencies(), _unanswered(), _bytes()))


def _outcomes() -> Line:
    return (
        curves(
            "Requests",
            "reqps",
            "Answered requests by status.",
            [(SERVICE.rate(m.REQUESTS, "status"), "{{status}}")],
            stacked=True,
        ),
        curves(
            "Errors",
            "percentunit",
            "Part of the requests that the service failed, status 5xx.",
            [(ERROR_RATIO, "failed")],
            limits=(0.001, 0.01),
        ),
        curves(
            "In flight",
            "short",
            "Requests being answered, and requests that wait for a place. A queue that "
            "stays means that replicas are too few.",
            [
                (SERVICE.added(m.REQUESTS_IN_FLIGHT), "in flight"),
                (SERVICE.added(m.QUEUED_REQUESTS), "queued"),
            ],
        ),
    )


def _latencies() -> Line:
    return [
        curves(
            f"Latency, p{quantile * 100:.0f}",
            "s",
            "By route; a stream counts its whole life.",
            [(SERVICE.quantile(quantile, m.REQUEST_DURATION, "route"), "{{route}}")],
            logarithmic=True,
        )
        for quantile in QUANTILES
    ]


def _unanswered() -> Line:
    return (
        curves(
            "Refused",
            "reqps",
            "Requests that were not worked on, by reason.",
            [(or_zero(SERVICE.rate(m.REFUSED_REQUESTS, "reason"), "reason"), "{{reason}}")],
        ),
        curves(
            "Rate limits",
            "reqps",
            "Requests over a rate limit, by limit; and errors of the shared limits' store.",
            [
                (
                    or_zero(SERVICE.rate(m.RATE_LIMITED_REQUESTS, "limit"), "limit"),
                    "over: {{limit}}",
                ),
                (SERVICE.rate(m.RATE_LIMITER_ERRORS), "errors of the store"),
            ],
        ),
        curves(
            "Broken off",
            "reqps",
            "Their client left, sent nothing for long, or took no answer for long.",
            [
                (SERVICE.rate(m.DISCONNECTS), "left"),
                (SERVICE.rate(m.IDLE_REQUESTS), "sent nothing"),
                (SERVICE.rate(m.STALLED_CLIENTS), "took nothing"),
            ],
        ),
    )


def _bytes() -> Line:
    return (
        curves(
            "Received",
            "Bps",
            "Bytes of requests' bodies, by route.",
            [(SERVICE.rate(m.RECEIVED_BYTES, "route"), "{{route}}")],
            stacked=True,
        ),
        curves(
            "Sent",
            "Bps",
            "Bytes of answers' bodies, by route.",
            [(SERVICE.rate(m.SENT_BYTES, "route"), "{{route}}")],
            stacked=True,
        ),
    )
