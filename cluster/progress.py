"""How a build tells what it is doing, to whoever wants to know."""

from typing import Protocol

from cluster.costs import StageReport, TaskReport


class Observer(Protocol):
    """Watches a build. Totals and amounts of one stage are in one unit, of bytes or records."""

    def stage_started(self, name: str, total: int) -> None:
        """A stage begins; `total` is what `advanced` will add up to."""
        ...

    def task_finished(self, report: TaskReport) -> None:
        """A worker has done a task of the stage; its part of the stage is `advanced` after that."""
        ...

    def advanced(self, amount: int) -> None:
        """A part of the stage is done."""
        ...

    def stage_finished(self, report: StageReport) -> None:
        """The stage is done."""
        ...

    def workers_started(self, workers: int, restarts: int) -> None:
        """So many workers have started so far, and have died and been started again so often."""
        ...

    def disk_used(self, size_bytes: int) -> None:
        """The build's folder takes so much now."""
        ...


class Silent:
    """An observer that says nothing."""

    def stage_started(self, name: str, total: int) -> None:
        """Nothing."""

    def task_finished(self, report: TaskReport) -> None:
        """Nothing."""

    def advanced(self, amount: int) -> None:
        """Nothing."""

    def stage_finished(self, report: StageReport) -> None:
        """Nothing."""

    def workers_started(self, workers: int, restarts: int) -> None:
        """Nothing."""

    def disk_used(self, size_bytes: int) -> None:
        """Nothing."""


class Several:
    """Observers as one: each is told what this is told."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def stage_started(self, name: str, total: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.stage_started(name, total)

    def task_finished(self, report: TaskReport) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.task_finished(report)

    def advanced(self, amount: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.advanced(amount)

    def stage_finished(self, report: StageReport) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.stage_finished(report)

    def workers_started(self, workers: int, restarts: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.workers_started(workers, restarts)

    def disk_used(self, size_bytes: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.disk_used(size_bytes)
