"""Workers that go through a list of tasks: on Ray, or in this process."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import ray
from ray.exceptions import RayActorError, RayTaskError

from cluster.counting import TaskReport
from cluster.session import processors
from lmserve.errors import BuildError, LmserveError, OptionError

# A task that kills its worker this often will do so again.
_MAX_RESTARTS = 4


class Pool(Protocol):
    """Workers, one task each at a time."""

    @property
    def size(self) -> int:
        """How many workers."""
        ...

    def run(
        self, method: str, calls: Iterable[tuple[Any, ...]], done: Callable[[int], None]
    ) -> list[TaskReport]:
        """Calls a method of some worker for each tuple of arguments.

        Args:
            method: name of a method that returns a `TaskReport`, and may be called twice for the
                same arguments.
            calls: the arguments.
            done: called with the number of each call that is finished.

        Returns:
            What the calls cost, in no particular order.

        Raises:
            LmserveError: whatever a call raised first; those not yet begun are not made.
        """
        ...


class InProcessPool:
    """One worker in this process: the twin of `RayPool` that needs no Ray."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    @property
    def size(self) -> int:
        """1."""
        return 1

    def run(
        self, method: str, calls: Iterable[tuple[Any, ...]], done: Callable[[int], None]
    ) -> list[TaskReport]:
        """Makes the calls, one after the other; see `Pool`."""
        reports = []
        for i, arguments in enumerate(calls):
            reports.append(getattr(self._worker, method)(*arguments))
            done(i)
        return reports


class RayPool:
    """Ray actors, each on a processor of its own, for the time of a `with` block.

    An actor that dies is restarted and its call repeated, a few times.

    Args:
        worker_class: class of the workers.
        size: how many; None means one for every processor of the cluster.
        arguments: of the workers' constructor.

    Raises:
        OptionError: the cluster has fewer processors than that.
    """

    def __init__(self, worker_class: type, size: int | None, *arguments: object) -> None:
        self.size = size or processors()
        if self.size > processors():
            raise OptionError(
                f"{size} workers on a cluster of {processors()} processors would wait for ever",
                f"Give --workers {processors()} or fewer, or add nodes.",
            )
        actor_class: Any = ray.remote(
            num_cpus=1, max_restarts=_MAX_RESTARTS, max_task_retries=_MAX_RESTARTS
        )(worker_class)
        self._actors = [actor_class.remote(*arguments) for _ in range(self.size)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After an error some are at work; they end when nothing refers to them any more.
        if error is None:
            for actor in self._actors:
                ray.kill(actor)

    def run(
        self, method: str, calls: Iterable[tuple[Any, ...]], done: Callable[[int], None]
    ) -> list[TaskReport]:
        """Makes the calls, one at a time on each actor; see `Pool`.

        Raises:
            BuildError: an actor died too often, or a call raised something unforeseen.
        """
        waiting = enumerate(calls)
        idle = list(self._actors)
        running: dict[Any, tuple[Any, int]] = {}
        reports: list[TaskReport] = []
        while True:
            while idle and (call := next(waiting, None)):
                actor = idle.pop()
                running[getattr(actor, method).remote(*call[1])] = (actor, call[0])
            if not running:
                return reports
            ready, _ = ray.wait(list(running))
            actor, i = running.pop(ready[0])
            reports.append(_result(ready[0]))
            idle.append(actor)
            done(i)


def _result(reference: Any) -> TaskReport:
    try:
        report: TaskReport = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, LmserveError):
            raise error.cause from None
        raise BuildError(
            f"a worker failed: {error.cause!r}",
            "Look for a full disk or a fault in lmserve; what is done is kept: --resume goes on.",
        ) from error
    except RayActorError as error:
        raise BuildError(
            f"a worker died again and again, the last time so: {error}",
            "Most often memory ran out: give fewer --workers or less --memory; what is done is "
            "kept: --resume goes on.",
        ) from error
    return report
