"""The board of the service: requests, texts, cache, sessions, models."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from lmserve.metrics import service_metrics as m
from lmserve.metrics.node_metrics import RESIDENT_MEMORY
from lmserve.monitoring.expressions import or_zero
from lmserve.monitoring.layout import CLUSTER, Annotation, Line, Row, Variable, board
from lmserve.monitoring.panels import bars, curves, number
from lmserve.monitoring.request_rows import ERROR_RATIO, SERVICE, requests_row
from lmserve.monitoring.scoring_rows import cache_row, sessions_row, text_row


def service_board() -> Dashboard:
    """Whether the service answers, how fast, and whether what it is asked suits its models."""
    return board(
        "service",
        "Service",
        "Requests, latency, text, cache, sessions and models of the service.",
        (_now(), requests_row(), text_row(), cache_row(), sessions_row(), _models()),
        variables=(
            CLUSTER,
            Variable("model", f'{m.MODEL_INFO.shown}{{cluster=~"$cluster"}}', "name"),
        ),
        annotations=_annotations(),
    )


def _annotations() -> tuple[Annotation, ...]:
    served = f"count by (name, version) ({SERVICE.of(m.MODEL_INFO)} == 1)"
    before = f"count by (name, version) ({SERVICE.of(m.MODEL_INFO)} offset $__interval == 1)"
    return (
        Annotation("Deployment", f"{served} unless {before}", "{{name}} {{version}}", "blue"),
        Annotation(
            "Replica start", SERVICE.new(m.REPLICA_STARTS, "instance"), "on {{instance}}", "orange"
        ),
    )


def _now() -> Row:
    missing = f"{SERVICE.largest(m.REPLICAS_WANTED)} - {SERVICE.added(m.REPLICAS)}"
    return Row(
        "Now",
        (
            (
                number("Replicas", "short", "Replicas that are ready.", SERVICE.added(m.REPLICAS)),
                number(
                    "Replicas missing",
                    "short",
                    "Replicas that the service was told to have and that are not ready.",
                    missing,
                    limits=(1,),
                ),
                number(
                    "Requests", "reqps", "Requests answered a second.", SERVICE.rate(m.REQUESTS)
                ),
                number(
                    "Errors",
                    "percentunit",
                    "Part of the requests that the service failed: status 5xx.",
                    ERROR_RATIO,
                    limits=(0.001, 0.01),
                ),
                number(
                    "Latency, p95",
                    "s",
                    "95% of requests are answered within it; streams count their whole life.",
                    SERVICE.quantile(0.95, m.REQUEST_DURATION),
                ),
                number("Words", "short", "Words scored a second.", SERVICE.rate(m.WORDS)),
            ),
        ),
    )


def _models() -> Row:
    return Row("Models and replicas", ((*_versions(), *_replicas()),))


def _versions() -> Line:
    swapped = or_zero(SERVICE.added(m.MODEL_SWAPS, "name"), "name")
    failed = or_zero(SERVICE.added(m.MODEL_LOAD_ERRORS, "name"), "name")
    return (
        bars(
            "Versions served",
            "short",
            "Nodes that serve each version of a model. Two versions of one model are "
            "normal only while one takes the place of the other.",
            f"count by (name, version) ({SERVICE.of(m.MODEL_INFO)} == 1)",
            "{{name}} {{version}}",
        ),
        curves(
            "Changes of models",
            "short",
            "Versions that took the place of another, and attempts to load one that "
            "failed, in all since the replicas started.",
            [(swapped, "swapped: {{name}}"), (failed, "failed: {{name}}")],
        ),
    )


def _replicas() -> Line:
    return (
        curves(
            "Replicas",
            "short",
            "Ready, and as many as the service was told to have.",
            [
                (SERVICE.added(m.REPLICAS), "ready"),
                (SERVICE.largest(m.REPLICAS_WANTED), "wanted"),
            ],
        ),
        curves(
            "Memory",
            "bytes",
            "Resident memory of the replicas, by node.",
            [(SERVICE.added(RESIDENT_MEMORY, "instance", role="replica"), "{{instance}}")],
        ),
    )
