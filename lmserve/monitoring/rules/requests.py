"""How fast the error budget is spent: requests that fail, and requests that take long.

Windows and factors are those of Google's SRE Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate
Alerts": of the budget of 30 days, 14.4 times as fast as it lasts spends 2% in an hour, 6 times 5%
in six hours, once 10% in three days. The short window makes the alert end soon after its cause.
"""

from dataclasses import dataclass

from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Alert, Clock, Group, Recording, Severity

_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
# Probes ask for these again and again, and are answered 503 before models are loaded.
_OPERATIONS = 'route!~"/healthz|/readyz|/metrics"'
_FAILED = "cluster:lmserve_failed_requests_per_request:ratio_rate"
_SLOW = "cluster:lmserve_slow_scores_per_score:ratio_rate"
_SCORES = 'route="/v1/score"'


@dataclass(frozen=True, kw_only=True, slots=True)
class _Burn:
    factor: float
    long: str
    short: str


_HOURS = _Burn(factor=14.4, long="1h", short="5m")
_DAY = _Burn(factor=6, long="6h", short="30m")
_DAYS = _Burn(factor=1, long="3d", short="6h")


def groups(clock: Clock, objectives: Objectives) -> list[Group]:
    """Ratios of failed and of slow requests, and alerts about them."""
    ratios = [_failed(window, clock(window)) for window in _WINDOWS]
    ratios += [_slow(window, clock(window), objectives.slow_s) for window in _WINDOWS]
    return [
        Group(name="lmserve-requests", rules=(*ratios, *_errors(objectives), *_latency(objectives)))
    ]


def _errors(objectives: Objectives) -> tuple[Alert, Alert]:
    budget = objectives.failing
    return (
        Alert(
            name="LmserveErrorsBurnFast",
            severity=Severity.CRITICAL,
            expression=f"{_burns(_FAILED, budget, _HOURS)} or {_burns(_FAILED, budget, _DAY)}",
            summary="{{ $value | humanizePercentage }} of requests fail.",
            description="{{ $value | humanizePercentage }} of requests were answered 5xx, where "
            f"{budget:.3%} may. At this rate the errors allowed in 30 days are spent in hours or a "
            "few days.",
        ),
        Alert(
            name="LmserveErrorsBurnSlowly",
            severity=Severity.WARNING,
            expression=_burns(_FAILED, budget, _DAYS),
            summary="{{ $value | humanizePercentage }} of requests have failed for days.",
            description="{{ $value | humanizePercentage }} of the requests of three days were "
            f"answered 5xx, where {budget:.3%} may, and it goes on.",
        ),
    )


def _latency(objectives: Objectives) -> tuple[Alert, Alert]:
    budget, slow = objectives.slow, f"took longer than {objectives.slow_s:g} s"
    return (
        Alert(
            name="LmserveLatencyBurnsFast",
            severity=Severity.CRITICAL,
            expression=f"{_burns(_SLOW, budget, _HOURS)} or {_burns(_SLOW, budget, _DAY)}",
            summary="{{ $value | humanizePercentage }} of requests to /v1/score are slow.",
            description="{{ $value | humanizePercentage }} of requests to /v1/score "
            f"{slow}, where {budget:.2%} may. At this rate the slow requests allowed in 30 days "
            "are spent in hours or a few days.",
        ),
        Alert(
            name="LmserveLatencyBurnsSlowly",
            severity=Severity.WARNING,
            expression=_burns(_SLOW, budget, _DAYS),
            summary="{{ $value | humanizePercentage }} of requests to /v1/score are slow, for "
            "days now.",
            description="{{ $value | humanizePercentage }} of the requests to /v1/score of three "
            f"days {slow}, where {budget:.2%} may, and it goes on.",
        ),
    )


def _failed(window: str, duration: str) -> Recording:
    every = _rate("lmserve_requests_total", _OPERATIONS, duration)
    failed = _rate("lmserve_requests_total", f'status=~"5..",{_OPERATIONS}', duration)
    # Until something fails, there is no series to divide.
    return Recording(
        name=f"{_FAILED}{window}", expression=f"({failed} or 0 * {every}) / ({every} > 0)"
    )


def _slow(window: str, duration: str, slow_s: float) -> Recording:
    every = _rate("lmserve_request_duration_seconds_count", _SCORES, duration)
    bound = f'{_SCORES},le="{float(slow_s)}"'
    fast = _rate("lmserve_request_duration_seconds_bucket", bound, duration)
    return Recording(name=f"{_SLOW}{window}", expression=f"1 - {fast} / ({every} > 0)")


def _rate(metric: str, selector: str, duration: str) -> str:
    return f"sum by (cluster) (rate({metric}{{{selector}}}[{duration}]))"


def _burns(ratio: str, budget: float, burn: _Burn) -> str:
    """The ratio of the long window, where both windows' are above the factor times the budget."""
    bound = f"{burn.factor:g} * {budget:g}"
    return f"({ratio}{burn.long} > {bound} and {ratio}{burn.short} > {bound})"
