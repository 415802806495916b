"""Workers that go through a list of tasks: on Ray, or in this process."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError, RayTaskError

from cluster.costs import TaskReport
from cluster.placement import options_for, processors
from lmserve.errors import BuildError, LmserveError, OptionError

# A task that kills its worker this often will do so again.
_MAX_RESTARTS = 4
_START_TIMEOUT_S = 120.0

Done = Callable[[int, TaskReport], None]


class Pool(Protocol):
    """Workers, one task each at a time."""

    @property
    def size(self) -> int:
        """How many workers."""
        ...

    @property
    def elsewhere(self) -> bool:
        """Whether they are other processes than this."""
        ...

    def run(self, method: str, calls: Iterable[tuple[Any, ...]], done: Done) -> list[TaskReport]:
        """Calls a method of some worker for each tuple of arguments.

        Args:
            method: name of a method that returns a `TaskReport`, and may be called twice for the
                same arguments.
            calls: the arguments.
            done: called with the number and the cost of each call that is finished.

        Returns:
            What the calls cost, in no particular order.

        Raises:
            LmserveError: whatever a call raised first; those not yet begun are not made.
        """
        ...


class InProcessPool:
    """One worker in this process that stands for `size`: the twin of `RayPool` without Ray."""

    elsewhere = False

    def __init__(self, worker: Any, size: int) -> None:
        self._worker = worker
        self.size = size

    def run(self, method: str, calls: Iterable[tuple[Any, ...]], done: Done) -> list[TaskReport]:
        """Makes the calls, one after the other; see `Pool`."""
        reports = []
        for i, arguments in enumerate(calls):
            reports.append(getattr(self._worker, method)(*arguments))
            done(i, reports[-1])
        return reports


class RayPool:
    """Ray actors, each on a processor of its own.

    An actor that dies is restarted and its call repeated, a few times. Calls go to actors that have
    started: on a cluster that does other work, some may have to wait for a processor.

    Args:
        worker_class: class of the workers.
        size: how many; None means one for every processor of the cluster, or of the role's nodes.
        arguments: of the workers' constructor, before the number of each.
        role: of the nodes that they run on, see `cluster.placement`; None: any node.

    Raises:
        OptionError: no node has the role, or there are fewer processors than that.
    """

    elsewhere = True

    def __init__(
        self, worker_class: type, size: int | None, *arguments: object, role: str | None = None
    ) -> None:
        available = processors(role)
        self.size = size or available
        if self.size > available:
            where = "a cluster" if role is None else f"nodes of the role {role!r}"
            raise OptionError(
                f"{size} workers on {where} of {available} processors would wait for ever",
                f"Give --workers {available} or fewer, or add nodes.",
            )
        actor_class: Any = ray.remote(
            num_cpus=1,
            max_restarts=_MAX_RESTARTS,
            # As often as it starts, and while its machine does not answer: until Ray is sure that
            # the machine is lost, and starts the actor on another one, calls fail again and again.
            max_task_retries=-1,
            **options_for(role),
        )(worker_class)
        self._actors = [actor_class.remote(*arguments, number) for number in range(self.size)]
        self._starting = {actor.__ray_ready__.remote(): actor for actor in self._actors}
        self._idle: list[Any] = []

    def start(self) -> None:
        """Waits until the first actors have started; the others join when they have.

        Raises:
            BuildError: none gets a processor.
        """
        while self._starting and not self._idle:
            for ready in self._wait(list(self._starting), forever=False):
                _result(ready)
                self._idle.append(self._starting.pop(ready))

    def close(self) -> None:
        """Ends the actors, whatever they are doing."""
        for actor in self._actors:
            ray.kill(actor)

    def run(self, method: str, calls: Iterable[tuple[Any, ...]], done: Done) -> list[TaskReport]:
        """Makes the calls, one at a time on each actor; see `Pool`.

        Raises:
            BuildError: an actor died too often, no actor gets a processor, or a call raised
                something unforeseen.
        """
        waiting = enumerate(calls)
        following = next(waiting, None)
        running: dict[Any, tuple[Any, int]] = {}
        reports: list[TaskReport] = []
        while following or running:
            while following and self._idle:
                number, arguments = following
                actor = self._idle.pop()
                running[getattr(actor, method).remote(*arguments)] = (actor, number)
                following = next(waiting, None)
            (ready,) = self._wait([*running, *self._starting], forever=bool(running))
            if ready in self._starting:
                _result(ready)
                self._idle.append(self._starting.pop(ready))
                continue
            actor, number = running.pop(ready)
            reports.append(_result(ready))
            self._idle.append(actor)
            done(number, reports[-1])
        return reports

    def _wait(self, references: list[Any], *, forever: bool) -> list[Any]:
        ready, _ = ray.wait(references, timeout=None if forever else _START_TIMEOUT_S)
        if not ready:
            raise BuildError(
                f"none of {self.size} workers got a processor of the cluster within "
                f"{_START_TIMEOUT_S:.0f} s: other work has them all",
                "Wait until it has ended ('ray status' shows it), then go on with --resume.",
            )
        return list(ready)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
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
