"""The models of a model directory, each in its current version, while requests go on."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from lmserve.errors import LmserveError
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.records import Pointer
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.served import Catalogue, LoadFailure, ServedModel

# A version that cannot be loaded is tried again after pauses that grow up to this.
_LONGEST_PAUSE_S = 60.0

logger = logging.getLogger(__name__)

Open = Callable[[ModelDirectory, str, Pointer], ServedModel]


class FollowingCatalogue(Catalogue):
    """Looks at a directory's pointers again and again, and swaps what they no longer point at.

    The models are in the order of their names. A request keeps the version that it found, which
    goes when the last request is done with it. What cannot be loaded is counted, logged and told
    in `failures`, while what was loaded before goes on.

    Args:
        directory: to follow; it is looked at once at once.
        open_version: loads the version that a pointer points at.
        metrics: told of every swap and error.
        poll_s: seconds between two looks.
        clock: monotonic seconds; another one in tests.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        open_version: Open,
        *,
        metrics: ServiceMetrics,
        poll_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__({})
        self._directory = directory
        self._open = open_version
        self._metrics = metrics
        self._poll_s = poll_s
        self._clock = clock
        self._try_again_at_s: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self.look()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            # In a thread: reading pointers may wait for a network, and loading takes seconds.
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Reads all pointers, loads what is new and drops what is gone; raises nothing."""
        try:
            names = self._directory.names()
        except Exception as error:
            self._failed("", "", error)
            return
        self._forget_failure("")
        present = {name for name in names if self._update(name)}
        for name in self._models.keys() - present:
            self._drop(name)
        for name in self._failures.keys() - present:
            self._forget_failure(name)

    def _update(self, name: str) -> bool:
        """Brings one name up to date; False where it has no pointer."""
        version = ""
        try:
            pointer = self._directory.pointer(name)
            if pointer is None:
                return False
            version = pointer.current
            served = self._models.get(name)
            if served is not None and served.version == version:
                self._forget_failure(name)
            elif self._may_try(name, version):
                self._swap(self._open(self._directory, name, pointer))
        except Exception as error:
            # Any: whatever is wrong with one model is no reason to stop following the others.
            self._failed(name, version, error)
        return True

    def _may_try(self, name: str, version: str) -> bool:
        failure = self._failures.get(name)
        other = failure is None or failure.version != version
        return other or self._clock() >= self._try_again_at_s[name]

    def _swap(self, served: ServedModel) -> None:
        former = self._models.get(served.name)
        self._models = dict(sorted({**self._models, served.name: served}.items()))
        self._metrics.serves(served.name, served.version, served.digest, served.heldout_perplexity)
        self._forget_failure(served.name)
        if former is None:
            logger.info("model %s: serving version %s", served.name, served.version)
            return
        self._metrics.serves_no_more(former.name, former.version, former.digest)
        self._metrics.model_swaps.labels(served.name).inc()
        logger.info(
            "model %s: version %s took the place of %s", served.name, served.version, former.version
        )

    def _drop(self, name: str) -> None:
        former = self._models[name]
        self._models = {other: self._models[other] for other in self._models if other != name}
        self._metrics.serves_no_more(former.name, former.version, former.digest)
        logger.info("model %s: gone from %s", name, self._directory.location)

    def _failed(self, name: str, version: str, error: Exception) -> None:
        problem = error.problem if isinstance(error, LmserveError) else repr(error)
        before = self._failures.get(name)
        again = before is not None and before.version == version
        attempts = before.attempts + 1 if before is not None and again else 1
        failure = LoadFailure(name=name, version=version, problem=problem, attempts=attempts)
        self._failures = {**self._failures, name: failure}
        pause_s = min(self._poll_s * 2 ** min(attempts, 10), _LONGEST_PAUSE_S)
        self._try_again_at_s[name] = self._clock() + pause_s
        self._metrics.model_load_errors.labels(name).inc()
        if before is None or before.problem != problem:
            place = f"model {name or '-'} version {version or '-'}"
            logger.error("%s of %s: %s", place, self._directory.location, problem)

    def _forget_failure(self, name: str) -> None:
        self._failures = {other: self._failures[other] for other in self._failures if other != name}
        self._try_again_at_s.pop(name, None)
