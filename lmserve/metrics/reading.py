"""All that the processes of a node counted, as Prometheus reads it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from lmserve.errors import LmserveError
from lmserve.metrics import membership
from lmserve.metrics.damage import merged
from lmserve.metrics.retiring import retire_the_dead
from lmserve.metrics.sharing import process_name
from lmserve.metrics.value_files import newest_retired, value_files

# As often as processes may die and be put together while all are read once.
_ATTEMPTS = 100
# Ends of names of metrics that tell of something that may be no more.
_TOLD_OF = ("_info", "_heldout_perplexity")


class NodeCollector(Collector):
    """All that the processes which share a folder counted, dead ones too.

    Args:
        folder: of the node.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now.

        Raises:
            LmserveError: the folder's files come and go all the time.
        """
        retire_the_dead(self._folder)
        yield from _without_past(read_all(self._folder))


def read_all(folder: Path) -> list[Metric]:
    """The sums of all processes.

    Raises:
        LmserveError: the folder's files come and go all the time.
    """
    for _ in range(_ATTEMPTS):
        try:
            before = newest_retired(folder).generation
            metrics = _now(folder)
            if newest_retired(folder).generation == before:
                return metrics
        except FileNotFoundError:
            # Put together just now; the sum has it.
            continue
    raise LmserveError(
        f"{folder} cannot be read: its files come and go all the time",
        "Look whether the folder exists, and whether processes die over and over.",
    )


def read_own(folder: Path) -> list[Metric]:
    """What this process counted, without what ends with it."""
    own = process_name()
    files = (file for file in value_files(folder) if file.process == own and not file.is_live)
    return merged([file.path for file in files])


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """A registry of what is collected when it is asked for."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return registry


class Collected(Collector):
    """Metrics that don't change any more.

    Nothing can be removed of what several processes share; what is no more so is 0, in metrics
    that tell of what there is (`_TOLD_OF`), and left out here.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(_without_past(metrics))

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        yield from self._metrics


def _now(folder: Path) -> list[Metric]:
    retired = newest_retired(folder)
    files = value_files(folder)
    living = membership.living(folder)
    read = [
        file.path
        for file in files
        if file.path.stat().st_size
        and (file.process in living or not file.is_live)
        and not (file.is_counted and file.process in retired.names)
    ]
    return merged([*read, *retired.files()])


def _without_past(metrics: Iterable[Metric]) -> Iterator[Metric]:
    for metric in metrics:
        if metric.name.endswith(_TOLD_OF):
            metric.samples = [sample for sample in metric.samples if sample.value]
        yield metric
