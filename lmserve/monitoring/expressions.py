"""Expressions of PromQL over declared metrics, of the series that a board's variables choose."""

from dataclasses import dataclass, field

from lmserve.metrics.declaration import Declaration, Kind
from lmserve.metrics.node_metrics import PROCESSES

# What Grafana puts in: long enough for four scrapes, and never shorter than a pixel.
RANGE = "$__rate_interval"
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the variables of a board choose.

    Args:
        variables: the variable by the label that it is about, beside `cluster`.
    """

    variables: dict[str, str] = field(default_factory=dict)

    def of(self, metric: Declaration, suffix: str = "", **matchers: str) -> str:
        """The series of a metric.

        Args:
            suffix: `_bucket`, `_sum` or `_count` of a histogram.
            matchers: further regular expressions that labels match.
        """
        assert (metric.kind is Kind.HISTOGRAM) == bool(suffix), metric.name
        assert set(matchers) <= set(metric.labels), metric.name
        chosen = {
            label: f"${variable}"
            for label, variable in self.variables.items()
            if label in metric.labels
        }
        matched = {"cluster": "$cluster", **chosen, **matchers}
        inside = ",".join(f'{label}=~"{value}"' for label, value in matched.items())
        return f"{metric.shown}{suffix}{{{inside}}}"

    def added(self, metric: Declaration, *by: str, **matchers: str) -> str:
        """The sum of all series of a metric, or a sum for each value of the labels `by`."""
        return f"{_sum(by)} ({self.of(metric, **matchers)})"

    def largest(self, metric: Declaration, *by: str, **matchers: str) -> str:
        """The largest value, of all series or for each value of the labels `by`."""
        return f"max{_by(by)} ({self.of(metric, **matchers)})"

    def rate(self, metric: Declaration, *by: str, suffix: str = "", **matchers: str) -> str:
        """What a counter grows a second."""
        return f"{_sum(by)} (rate({self.of(metric, suffix, **matchers)}[{RANGE}]))"

    def quantile(self, quantile: float, metric: Declaration, *by: str) -> str:
        """A quantile of a histogram."""
        return f"histogram_quantile({quantile}, {self.rate(metric, 'le', *by, suffix='_bucket')})"

    def buckets(self, metric: Declaration) -> str:
        """How many observations fell into each bucket."""
        return f"sum by (le) (increase({self.of(metric, '_bucket')}[{RANGE}]))"

    def new(self, metric: Declaration, *by: str) -> str:
        """By how much a counter has grown since the step before, where it has; also from nothing.

        `increase` misses what a counter has when it is first seen, as that of a killed process's
        successor.
        """
        now = f"{_sum(by)} ({self.of(metric)})"
        before = f"{_sum(by)} ({self.of(metric)} offset $__interval)"
        return f"{now} - ({before} or 0 * {now}) > 0"


def or_zero(expression: str, label: str = "") -> str:
    """An expression that is 0 where lmserve runs and the expression has nothing.

    Args:
        expression: with `label` alone, or without labels.
        label: gets the value "none" then.
    """
    zero = f'0 * sum({PROCESSES.shown}{{cluster=~"$cluster"}})'
    if label:
        zero = f'label_replace({zero}, "{label}", "none", "", "")'
    return f"{expression} or on() {zero}"


def _sum(by: tuple[str, ...]) -> str:
    return f"sum{_by(by)}"


def _by(by: tuple[str, ...]) -> str:
    return f" by ({', '.join(by)})" if by else ""
