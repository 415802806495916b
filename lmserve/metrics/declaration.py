"""A metric as it is declared: its name, what it means, its labels, and how processes add up.

Names are Prometheus's: `lmserve_` and what is measured, with its unit at the end; `_total` is added
to counters where they are shown.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

# How many values a label takes at most in one process; of each, a metric has that many series.
BOUNDS = {
    "cell": 7,
    "clipping": 2,
    "digest": 64,
    "group": 256,
    "kind": 16,
    "layer": 64,
    "limit": 2,
    "mount": 16,
    "name": 64,
    "python": 1,
    "ray": 1,
    "reason": 8,
    "role": 8,
    "route": 40,
    "run": 16,
    "split": 2,
    "stage": 16,
    "state": 4,
    "status": 20,
    "store": 3,
    "version": 64,
}
_NAME = re.compile(r"lmserve(_[a-z0-9]+)+")


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Sharing(StrEnum):
    """What a gauge is on a node where several processes have it.

    Those of `LIVE_...` end with their process; `LATEST` stays, for some minutes, what it was last.
    """

    LIVE_SUM = "livesum"
    LIVE_MAX = "livemax"
    LIVE_MIN = "livemin"
    LATEST = "mostrecent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """A metric.

    Attributes:
        kind: what it is.
        name: without the `_total` of a counter.
        about: what it means, a sentence.
        labels: their names, each one of `BOUNDS`.
        buckets: upper bounds, of a histogram.
        sharing: of a gauge.
    """

    kind: Kind
    name: str
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    sharing: Sharing | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.endswith(("_total", "_count", "_sum")):
            raise ValueError(f"{self.name!r} is no name of a metric")
        if unbounded := set(self.labels) - set(BOUNDS):
            raise ValueError(f"{self.name} has labels without bounds: {sorted(unbounded)}")
        if (self.kind is Kind.HISTOGRAM) != bool(self.buckets):
            raise ValueError(f"{self.name}: a histogram has buckets, and nothing else has")
        if (self.kind is Kind.GAUGE) != (self.sharing is not None):
            raise ValueError(f"{self.name}: a gauge is shared in some way, and nothing else is")

    @property
    def shown(self) -> str:
        """The name by which Prometheus knows it; of a histogram, without `_bucket` and the like."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def counter(name: str, about: str, *labels: str) -> Declaration:
    """Something that is counted."""
    return Declaration(kind=Kind.COUNTER, name=name, about=about, labels=labels)


def gauge(name: str, about: str, *labels: str, sharing: Sharing = Sharing.LIVE_SUM) -> Declaration:
    """Something that rises and falls."""
    return Declaration(kind=Kind.GAUGE, name=name, about=about, labels=labels, sharing=sharing)


def histogram(name: str, about: str, *labels: str, buckets: tuple[float, ...]) -> Declaration:
    """Something whose distribution matters."""
    return Declaration(kind=Kind.HISTOGRAM, name=name, about=about, labels=labels, buckets=buckets)
