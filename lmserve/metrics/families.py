"""Declared metrics as objects that a process counts with."""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from lmserve.metrics import kept_values
from lmserve.metrics.declaration import Declaration
from lmserve.metrics.sharing import process_name, shared_folder

if shared_folder():
    # Its own name for a process is its identifier, which others get after it.
    values.ValueClass = kept_values.shared(process_name)


# Values for which NumPy is slower than Python.
FEW = 8


class BatchHistogram(Histogram):
    """A histogram that takes a batch at the price of one observation a bucket."""

    def observe_many(self, values: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """Observes each value; infinite ones count but don't add to the sum, which they'd end."""
        if isinstance(values, Sequence) and len(values) <= FEW:
            for value in values:
                self._buckets[bisect_left(self._upper_bounds, value)].inc(1)
            self._sum.inc(math.fsum(value for value in values if value < math.inf))
            return
        array = np.asarray(values, np.float64)
        counts = np.bincount(np.searchsorted(self._upper_bounds, array)).tolist()
        for bucket, count in zip(self._buckets, counts, strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(float(array[np.isfinite(array)].sum()))


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
