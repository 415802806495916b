"""What tasks and stages cost, measured where they run."""

import resource
import time
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a task cost.

    Attributes:
        wall_s: elapsed time, in seconds.
        cpu_s: processor time, in seconds: its own, and the kernel's on its behalf.
        io_s: elapsed time without the task's own processor time: the kernel's work for it, such as
            reading, writing and mapping files, and waiting for a disk, a network, or, where there
            are more processes than processors, a processor.
        bytes_written: given to the kernel to write, whether to disk or to its cache.
        peak_memory_bytes: the largest resident memory of the process so far.
        fetched_bytes: from the store of a build whose machines have nothing else in common.
        shared_bytes: to that store.
    """

    wall_s: float
    cpu_s: float
    io_s: float
    bytes_written: int
    peak_memory_bytes: int
    fetched_bytes: int = 0
    shared_bytes: int = 0


@dataclass(slots=True)
class Traffic:
    """What this process has moved to and from a store.

    Attributes:
        fetched_bytes: from the store.
        shared_bytes: to the store.
    """

    fetched_bytes: int = 0
    shared_bytes: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, *, fetched: int = 0, shared: int = 0) -> None:
        """Counts what was moved."""
        with self._lock:
            self.fetched_bytes += fetched
            self.shared_bytes += shared


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskReport:
    """What one task did.

    Attributes:
        rows: tokens, records or n-grams that it made; 0 where they were there already.
        cost: of making them.
        began_s: when, in seconds since 1970, by the clock of the worker's machine.
        worker: the number of the worker that did it.
    """

    rows: int
    cost: Cost
    began_s: float
    worker: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StageReport:
    """What one stage of a build did, all tasks together.

    Attributes:
        name: of the stage.
        began_s: when, in seconds since 1970.
        wall_s: elapsed time, in seconds.
        cpu_s: see `Cost`, of all processes together; as the others.
        io_s: the same.
        rows: words, tokens, records or n-grams made.
        bytes_written: see `Cost`.
        tasks: pieces, shards or buckets.
        peak_memory_bytes: the largest resident memory of one process up to the stage's end.
        fetched_bytes: see `Cost`.
        shared_bytes: the same.
    """

    name: str
    began_s: float
    wall_s: float
    cpu_s: float
    io_s: float
    rows: int
    bytes_written: int
    tasks: int
    peak_memory_bytes: int
    fetched_bytes: int
    shared_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Meter:
    """Measures this process from when it is made; its threads are taken for one.

    Args:
        traffic: of this process.

    Attributes:
        began_s: when it was made, in seconds since 1970.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._fetched, self._shared = traffic.fetched_bytes, traffic.shared_bytes
        self.began_s = time.time()
        self._wall_s = time.monotonic()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._written = _bytes_written()

    def cost(self) -> Cost:
        """What this process did since."""
        wall_s = time.monotonic() - self._wall_s
        usage = resource.getrusage(resource.RUSAGE_SELF)
        own_s = usage.ru_utime - self._usage.ru_utime
        return Cost(
            wall_s=wall_s,
            cpu_s=own_s + usage.ru_stime - self._usage.ru_stime,
            io_s=max(wall_s - own_s, 0.0),
            bytes_written=_bytes_written() - self._written,
            peak_memory_bytes=usage.ru_maxrss * 1024,
            fetched_bytes=self._traffic.fetched_bytes - self._fetched,
            shared_bytes=self._traffic.shared_bytes - self._shared,
        )


def _bytes_written() -> int:
    return int(psutil.Process().io_counters().write_chars)
