"""The log of a training's steps, as the process that started it follows it."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from lmserve.rnn.checkpoints import Epoch
from lmserve.rnn.step_log import Log
from lmserve.rnn.training import Listener

_POLL_S = 0.5

# Told of a line of the log.
Watch = Callable[[dict[str, Any]], None]


@contextmanager
def following_file(path: Path, watch: Watch) -> Iterator[None]:
    """Tells of a file's lines as they are added, while a `with` block runs."""
    lines = _File(path)
    with _following(lines.added, watch):
        yield


@contextmanager
def following_relay(relay: Any, watch: Watch) -> Iterator[None]:
    """Tells of what an actor of `StepRelay` is told, while a `with` block runs."""

    def added() -> list[dict[str, Any]]:
        with contextlib.suppress(RayError):
            return list(ray.get(relay.take.remote()))
        return []

    with _following(added, watch):
        yield


class StepRelay:
    """Takes the lines of a log from the first worker, for the driver."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []

    def add(self, line: dict[str, Any]) -> None:
        """Takes one."""
        self._lines.append(line)

    def take(self) -> list[dict[str, Any]]:
        """Those that came since the last call."""
        lines, self._lines = self._lines, []
        return lines


def relaying(relay: Any | None) -> Listener:
    """What tells an actor of `StepRelay`, if there is one, of the log's lines."""

    def listen(told: Log | Epoch) -> None:
        if relay is not None and isinstance(told, Log):
            relay.add.remote(told.as_dict())

    return listen


@contextmanager
def _following(added: Callable[[], Iterable[dict[str, Any]]], watch: Watch) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(added, watch, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(
    added: Callable[[], Iterable[dict[str, Any]]], watch: Watch, stop: threading.Event
) -> None:
    told = -1
    while True:
        stopping = stop.wait(_POLL_S)
        for log in added():
            # Steps since the last checkpoint come again when workers begin again.
            if log["step"] > told:
                told = log["step"]
                watch(log)
        if stopping:
            return


class _File:
    """A file that lines are added to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._inode = 0

    def added(self) -> list[dict[str, Any]]:
        """The lines since the last call, whole ones only."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            # A training that goes on from a checkpoint writes the file anew.
            now = os.fstat(file.fileno()).st_ino
            file.seek(self._offset if now == self._inode else 0)
            added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            self._offset, self._inode = file.tell() - len(added) + len(whole), now
            return [json.loads(line) for line in whole.splitlines()]
        return []
