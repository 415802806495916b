"""Declared metrics as objects that a process counts with."""

import math
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from lmserve.metrics import kept_values
from lmserve.metrics.declaration import Declaration
from lmserve.metrics.sharing import process_name, shared_folder

if shared_folder():
    # Its own name for a process is its identifier, which others get after it.
    values.ValueClass = kept_values.shared(process_name)


class BatchHistogram(Histogram):
    """A histogram that takes a batch at the price of one observation a bucket."""

    @property
    def bounds(self) -> list[float]:
        """The largest value of each bucket; the last is infinite."""
        return list(self._upper_bounds)

    def observe_many(self, values: Sequence[float]) -> None:
        """Observes each value; infinite ones count but don't add to the sum, which they'd end."""
        counts = [0] * len(self._buckets)
        for value in values:
            counts[bisect_left(self._upper_bounds, value)] += 1
        self.add(counts, math.fsum(value for value in values if value < math.inf))

    def add(self, counts: Sequence[int], total: float) -> None:
        """Adds what was observed elsewhere.

        Args:
            counts: values of each bucket.
            total: sum of the finite values.
        """
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


def counter(declared: Declaration, registry: CollectorRegistry) -> Counter:
    """A counter as declared."""
    return Counter(declared.name, declared.about, declared.labels, registry=registry)


def gauge(declared: Declaration, registry: CollectorRegistry) -> Gauge:
    """A gauge as declared."""
    assert declared.sharing is not None
    return Gauge(
        declared.name,
        declared.about,
        declared.labels,
        registry=registry,
        multiprocess_mode=declared.sharing.value,
    )


def histogram(declared: Declaration, registry: CollectorRegistry) -> BatchHistogram:
    """A histogram as declared."""
    return BatchHistogram(
        declared.name,
        declared.about,
        declared.labels,
        registry=registry,
        buckets=declared.buckets,
    )
