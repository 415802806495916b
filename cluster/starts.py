"""How often workers have started, as they tell in the build's folder.

Ray starts an actor that died again without a word to the driver, and the new one remembers nothing:
each start leaves a note, whose name counts the starts of the same worker.
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
    """Called by a worker when it starts."""
    again = sum(start.worker == worker for start in read_starts(files))
    files.leave_note(f"{worker}-{again}-{time.time()}")


def read_starts(files: Workspace) -> list[Start]:
    """All starts so far, the same worker's one after the other."""
    found = (note.split("-") for note in files.read_notes())
    return sorted(Start(int(worker), int(again), float(at_s)) for worker, again, at_s in found)
