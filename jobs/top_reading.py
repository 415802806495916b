"""What `/metrics` of some nodes or services say now, and what came between two such readings."""

import http.client
import math
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from lmserve.errors import OptionError

# By name, then by labels.
Series = Mapping[frozenset[tuple[str, str]], float]
_TIMEOUT_S = 5.0
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What was read at one moment.

    Attributes:
        at_s: monotonic seconds.
        series: values of all metrics of lmserve, by name and labels, of all who answered.
        failures: why the others did not, by URL.
    """

    at_s: float
    series: Mapping[str, Series]
    failures: Mapping[str, str]

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of all series that have these labels; None where there is none."""
        found = [
            value
            for key, value in self.series.get(name, {}).items()
            if labels.items() <= dict(key).items()
        ]
        return math.fsum(found) if found else None

    def values_of(self, name: str, label: str) -> list[str]:
        """The values that a label of a metric has, sorted."""
        keys = (dict(key) for key in self.series.get(name, {}))
        return sorted({key[label] for key in keys if label in key})


@dataclass(frozen=True, slots=True)
class Between:
    """Two readings, the later one for what is, both for rates."""

    before: Reading
    now: Reading

    def increase(self, name: str, **labels: str) -> float | None:
        """What came to a counter; after a restart, all that it has."""
        end = self.now.total(name, **labels)
        if end is None:
            return None
        begin = self.before.total(name, **labels) or 0.0
        return end - begin if end >= begin else end

    def rate(self, name: str, **labels: str) -> float | None:
        """The increase a second."""
        increase = self.increase(name, **labels)
        seconds = self.now.at_s - self.before.at_s
        return None if increase is None or seconds <= 0 else increase / seconds

    def ratio(self, part: str, whole: str) -> float | None:
        """The part of one counter's increase that another's is; None where nothing came."""
        whole_came = self.increase(whole)
        return (self.increase(part) or 0.0) / whole_came if whole_came else None

    def quantile(self, name: str, part: float) -> float | None:
        """A quantile of what was observed, between buckets' bounds as Prometheus has it."""
        bounds = self.now.values_of(f"{name}_bucket", "le")
        counts = sorted((float(le), self.increase(f"{name}_bucket", le=le) or 0.0) for le in bounds)
        if not counts or counts[-1][1] == 0:
            return None
        wanted = part * counts[-1][1]
        for (low, below), (high, count) in pairwise([(0.0, 0.0), *counts]):
            if count >= wanted and count > below:
                if high == math.inf:
                    return low
                return low + (high - low) * (wanted - below) / (count - below)
        return None


def address(url: str) -> str:
    """Where an exporter answers: `http://host:9465` is `http://host:9465/metrics`.

    Raises:
        OptionError: it is no URL of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError(f"{url!r} is no URL of metrics", "Give one like http://localhost:9465.")
    return url if parts.path not in ("", "/") else f"{url.rstrip('/')}/metrics"


def read(urls: Sequence[str]) -> Reading:
    """Asks all of them, one after the other; who doesn't answer is among the failures."""
    # Here, as an optional package that other commands must not import before they share metrics.
    from prometheus_client.parser import text_string_to_metric_families

    series: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
    failures: dict[str, str] = {}
    for number, url in enumerate(urls):
        try:
            text = _fetch(url)
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    key = frozenset({**sample.labels, "source": str(number)}.items())
                    series[sample.name][key] = sample.value
        except urllib.error.URLError as error:
            failures[url] = str(error.reason)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures[url] = f"{type(error).__name__}: {error}"
    return Reading(at_s=time.monotonic(), series=dict(series), failures=failures)


def _fetch(url: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": "text/plain"})  # noqa: S310 - checked
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - checked
        return bytes(answer.read(_MAX_BYTES)).decode()
