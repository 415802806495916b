"""Replicas: whether they are there, can take what comes, and reach what they need."""

from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Alert, Clock, Group, Severity

_LIVING = "sum by (cluster) (lmserve_replicas)"
_WANTED = "max by (cluster) (lmserve_replicas_wanted)"


def groups(clock: Clock, objectives: Objectives) -> list[Group]:
    """Alerts about replicas, their load, their stores and their models."""
    return [
        Group(
            name="lmserve-replicas",
            rules=(
                *_presence(clock, objectives),
                *_load(clock),
                *_stores(clock),
                _models(clock),
            ),
        )
    ]


def _presence(clock: Clock, objectives: Objectives) -> tuple[Alert, ...]:
    half_hour, hour = clock("30m"), clock("1h")
    starts = f"sum by (cluster) (increase(lmserve_replica_starts_total[{half_hour}]))"
    # A deployment starts each of them once. While all are being started again, none tells.
    expected = f"{_wanted_in(f'[{half_hour}]')} + {objectives.restarts}"
    were = f"sum by (cluster) (max_over_time(lmserve_replicas[{hour}]))"
    # Replicas that try to start tell what is wanted; large models may take a quarter of an hour.
    tried = _wanted_in(f"[{hour}] offset {clock('15m')}")
    return (
        Alert(
            name="LmserveReplicaDown",
            severity=Severity.WARNING,
            expression=f"{_WANTED} - {_LIVING} > 0",
            lasting=clock("5m"),
            summary="{{ $value }} replicas are missing.",
            description="The service was told to have {{ $value }} more replicas than have loaded "
            "their models.",
        ),
        Alert(
            name="LmserveNoReplicas",
            severity=Severity.CRITICAL,
            expression=f"({were} > 0 or {tried} > 0) unless {_LIVING} > 0",
            lasting=clock("1m"),
            summary="There is no replica.",
            description="Within the last hour there were replicas, or some that could not start; "
            "now there is none, or nothing tells of them.",
        ),
        Alert(
            name="LmserveReplicaRestarting",
            severity=Severity.WARNING,
            expression=f"{starts} > {expected}",
            summary="Replicas start again and again.",
            description="Replicas started {{ $value | humanize }} times in 30 minutes, more often "
            "than one deployment explains.",
        ),
    )


def _wanted_in(past: str) -> str:
    return f"max by (cluster) (max_over_time(lmserve_replicas_wanted{past}))"


def _load(clock: Clock) -> tuple[Alert, ...]:
    refused = f'lmserve_refused_requests_total{{reason="overloaded"}}[{clock("5m")}]'
    return (
        Alert(
            name="LmserveOverloaded",
            severity=Severity.WARNING,
            expression=f"sum by (cluster) (rate({refused})) > 0",
            lasting=clock("5m"),
            summary="Requests are refused, as queues are full.",
            description="{{ $value | humanize }} requests a second are answered 503: all replicas' "
            "places are taken, and requests waited for one too long or were too many.",
        ),
        Alert(
            name="LmserveRequestsQueue",
            severity=Severity.WARNING,
            expression="sum by (cluster) (lmserve_queued_requests) > 0",
            lasting=clock("10m"),
            summary="Requests always have to wait for a place.",
            description="{{ $value }} requests wait now, and some have waited at every moment of "
            "the last 10 minutes: refusals come next.",
        ),
    )


def _stores(clock: Clock) -> tuple[Alert, ...]:
    errors = f"lmserve_rate_limiter_errors_total[{clock('10m')}]"
    return (
        Alert(
            name="LmserveBreakerOpen",
            severity=Severity.WARNING,
            expression="sum by (cluster, store) (lmserve_breaker_open) > 0",
            lasting=clock("2m"),
            summary="{{ $value }} replicas go without the store {{ $labels.store }}.",
            description="For {{ $value }} replicas the store {{ $labels.store }} fails: they leave "
            "it alone, but for a trial every few seconds.",
        ),
        Alert(
            name="LmserveRateLimiterFailing",
            severity=Severity.WARNING,
            expression=f"sum by (cluster) (rate({errors})) > 0",
            lasting=clock("10m"),
            summary="Rate limits are not shared between replicas.",
            description="The store of rate limits fails {{ $value | humanize }} times a second; "
            "meanwhile each replica grants every client all of its limits.",
        ),
    )


def _models(clock: Clock) -> Alert:
    errors = f"lmserve_model_load_errors_total[{clock('15m')}]"
    return Alert(
        name="LmserveModelLoadFailing",
        severity=Severity.WARNING,
        expression=f"sum by (cluster, name) (increase({errors})) > 0",
        summary='The model "{{ $labels.name }}" cannot be loaded.',
        description='Loading the current version of the model "{{ $labels.name }}" failed '
        "{{ $value | humanize }} times in 15 minutes (no name: reading the model directory). What "
        "was served before is served still.",
    )
