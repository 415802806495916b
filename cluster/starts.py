"""How often workers have started, as they tell in the build's folder.

Ray starts an actor that died again without a word to the driver, and the new one remembers nothing:
each start leaves a file, whose name counts the starts of the same worker.
"""

import time
from dataclasses import dataclass

from cluster.workspace import Workspace


@dataclass(frozen=True, order=True, slots=True)
class Start:
    """A worker's start.

    Attributes:
        worker: its number.
        again: 0 for the first, then 1, 2, ...
        at_s: when, in seconds since 1970, by the clock of the worker's machine.
    """

    worker: int
    again: int
    at_s: float


def tell_start(files: Workspace, worker: int) -> None:
    """Called by a worker when it starts; nothing on a machine that does not see the folder."""
    if files.starts.is_dir():
        again = sum(1 for _ in files.starts.glob(f"{worker}-*"))
        (files.starts / f"{worker}-{again}").write_text(str(time.time()))


def forget_starts(files: Workspace) -> None:
    """Called by the driver before it makes workers: those of a build that was stopped are gone."""
    files.starts.mkdir(exist_ok=True)
    for path in files.starts.iterdir():
        path.unlink()


def read_starts(files: Workspace) -> list[Start]:
    """All starts so far, the same worker's one after the other."""
    found = []
    for path in files.starts.iterdir():
        worker, again = map(int, path.name.split("-"))
        # Empty for an instant, while it is written.
        if content := path.read_text():
            found.append(Start(worker, again, float(content)))
    return sorted(found)
