"""Where a training's run lies: a folder that all its workers see, or a URL that they all reach."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from lmserve.errors import LmserveError
from lmserve.rnn import runs
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import ERROR_FILE, Keep
from lmserve.rnn.stored_runs import StoredRun


class RunPlace(Protocol):
    """A run, as the process that starts it and its workers see it."""

    def check(self) -> None:
        """See `runs.check`."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other trainings out of it while a block runs."""
        ...

    def prepare(self) -> None:
        """See `runs.prepare`."""
        ...

    def trained(self) -> bool:
        """Whether a run to be resumed was stopped when the training itself was done."""
        ...

    def entered(self) -> AbstractContextManager[tuple[RunConfig, Keep]]:
        """The run as a worker trains it: in a folder of its machine; and what keeps checkpoints."""
        ...

    def finish(self, config: RunConfig) -> None:
        """Keeps what the first worker has made in the folder that it entered."""
        ...

    def publish(self) -> RecurrentManifest:
        """See `runs.publish`."""
        ...

    def fail(self, error: LmserveError) -> None:
        """Leaves an error for whoever started the workers."""
        ...

    def failure(self) -> tuple[str, str] | None:
        """The problem and the remedy that a worker left, which are then forgotten."""
        ...


def place_of(config: RunConfig) -> RunPlace:
    """Where the run of a training lies."""
    return LocalRun(config) if config.url is None else StoredRun(config, config.url)


class LocalRun:
    """A run in a folder that all workers see."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._error = config.folder / ERROR_FILE

    def check(self) -> None:
        """See `RunPlace`."""
        runs.check(self._config)

    def locked(self) -> AbstractContextManager[None]:
        """See `RunPlace`."""
        return runs.locked(self._config)

    def prepare(self) -> None:
        """See `RunPlace`."""
        runs.prepare(self._config)

    def trained(self) -> bool:
        """See `RunPlace`."""
        return runs.is_published(self._config)

    @contextmanager
    def entered(self) -> Iterator[tuple[RunConfig, Keep]]:
        """See `RunPlace`."""
        yield self._config, lambda _: None

    def finish(self, config: RunConfig) -> None:
        """See `RunPlace`: it is where it should be."""

    def publish(self) -> RecurrentManifest:
        """See `RunPlace`."""
        return runs.publish(self._config)

    def fail(self, error: LmserveError) -> None:
        """See `RunPlace`."""
        self._error.write_text(json.dumps([error.problem, error.remedy]))

    def failure(self) -> tuple[str, str] | None:
        """See `RunPlace`."""
        if not self._error.exists():
            return None
        problem, remedy = json.loads(self._error.read_bytes())
        self._error.unlink()
        return problem, remedy
