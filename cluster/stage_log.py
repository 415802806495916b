"""The stages of a build as they are run: each timed, reported, and told to an observer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.costs import Meter, StageReport, TaskReport, Traffic
from cluster.lookout import Lookout
from cluster.pool import Pool
from cluster.progress import Observer
from cluster.task_summary import summarise


@dataclass
class Tally:
    """What a stage fills in while it runs.

    Attributes:
        rows: made by the driver.
        tasks: reports of workers.
        elsewhere: whether these are other processes, so that their costs are to be added.
    """

    rows: int = 0
    tasks: list[TaskReport] = field(default_factory=list)
    elsewhere: bool = True


class StageLog:
    """Runs stages and keeps their reports.

    Args:
        observer: told of them.
        lookout: looks at the build's folder meanwhile.
        traffic: of this process.

    Attributes:
        reports: of stages.
        tasks: of those that had any, what `task_summary.summarise` made of them.
    """

    def __init__(self, observer: Observer, lookout: Lookout, traffic: Traffic) -> None:
        self.reports: list[StageReport] = []
        self.tasks: list[dict[str, Any]] = []
        self._observer = observer
        self._lookout = lookout
        self._traffic = traffic

    def run(self, name: str, pool: Pool, calls: list[tuple[Any, ...]], amounts: list[int]) -> None:
        """A stage of many tasks: calls the worker's method `name`; `amounts` measure progress."""

        def done(number: int, report: TaskReport) -> None:
            self._observer.task_finished(report)
            self._observer.advanced(amounts[number])
            self._lookout.look()

        with self.stage(name, sum(amounts)) as tally:
            tally.elsewhere = pool.elsewhere
            tally.tasks = pool.run(name, calls, done)

    @contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[Tally]:
        """Times a stage and reports it when it ends without an error."""
        self._observer.stage_started(name, total)
        meter, tally = Meter(self._traffic), Tally()
        try:
            yield tally
        finally:
            self._lookout.look(anyhow=True)
        report = _report(name, meter, tally)
        self.reports.append(report)
        if tally.tasks:
            self.tasks.append(summarise(report, tally.tasks))
        self._observer.stage_finished(report)


def _report(name: str, meter: Meter, tally: Tally) -> StageReport:
    own = meter.cost()
    # Each worker moves what it needs itself, also one in this process.
    moved = [own, *(task.cost for task in tally.tasks)]
    costs = [task.cost for task in tally.tasks] if tally.elsewhere else []
    # The driver only waits while its workers work.
    io_s = sum(cost.io_s for cost in costs) if costs else own.io_s
    return StageReport(
        name=name,
        began_s=meter.began_s,
        wall_s=own.wall_s,
        cpu_s=own.cpu_s + sum(cost.cpu_s for cost in costs),
        io_s=io_s,
        rows=tally.rows + sum(task.rows for task in tally.tasks),
        bytes_written=own.bytes_written + sum(cost.bytes_written for cost in costs),
        tasks=max(len(tally.tasks), 1),
        peak_memory_bytes=max(cost.peak_memory_bytes for cost in costs or [own]),
        fetched_bytes=sum(cost.fetched_bytes for cost in moved),
        shared_bytes=sum(cost.shared_bytes for cost in moved),
    )
