"""The tasks of a stage in a space that does not grow with their number."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.costs import StageReport, TaskReport

PERCENTS = (0, 25, 50, 75, 90, 99, 100)
_MAX_SPANS = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Some tasks that a worker did one after the other.

    Attributes:
        worker: its number.
        began_s: when, in seconds since 1970.
        ended_s: the same.
        tasks: how many.
        rows: that they made.
        bytes_written: by them.
        peak_memory_bytes: of the worker up to their end.
    """

    worker: int
    began_s: float
    ended_s: float
    tasks: int
    rows: int
    bytes_written: int
    peak_memory_bytes: int


def summarise(stage: StageReport, tasks: Sequence[TaskReport]) -> dict[str, Any]:
    """The tasks of a stage, for JSON: quantiles of what they came to, and spans of workers."""
    return {
        "stage": stage.name,
        "tasks": len(tasks),
        "percents": PERCENTS,
        "wall_s": _spread([task.cost.wall_s for task in tasks]),
        "rows": _spread([task.rows for task in tasks]),
        "spans": [asdict(span) for span in spans(tasks)],
    }


def skew(tasks: Sequence[TaskReport]) -> float:
    """The time of the longest task against the mean of all."""
    wall_s = [task.cost.wall_s for task in tasks]
    return max(wall_s) * len(wall_s) / sum(wall_s)


def spans(tasks: Sequence[TaskReport]) -> list[Span]:
    """One for each task, or, of many tasks, one for several of a worker."""
    of_worker: dict[int, list[TaskReport]] = {}
    for task in sorted(tasks, key=lambda task: task.began_s):
        of_worker.setdefault(task.worker, []).append(task)
    # Each worker may have one that is not full.
    together = -(-len(tasks) // max(_MAX_SPANS - len(of_worker), 1))
    return [
        _span(worker, done[first : first + together])
        for worker, done in sorted(of_worker.items())
        for first in range(0, len(done), together)
    ]


def _span(worker: int, tasks: Sequence[TaskReport]) -> Span:
    return Span(
        worker=worker,
        began_s=tasks[0].began_s,
        ended_s=max(task.began_s + task.cost.wall_s for task in tasks),
        tasks=len(tasks),
        rows=sum(task.rows for task in tasks),
        bytes_written=sum(task.cost.bytes_written for task in tasks),
        peak_memory_bytes=max(task.cost.peak_memory_bytes for task in tasks),
    )


def _spread(values: npt.ArrayLike) -> dict[str, Any]:
    numbers = np.asarray(values, np.float64)
    return {"mean": float(numbers.mean()), "at": np.percentile(numbers, PERCENTS).tolist()}
