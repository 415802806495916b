"""What the driver sees of a build by looking at its folder now and then: disk used, workers."""

import time
from contextlib import suppress

from cluster.progress import Observer
from cluster.starts import Start, read_starts
from cluster.workspace import Workspace
from lmserve.errors import LmserveError

# A look takes no more than this part of the time, and there is not more than one a second.
_PART = 0.01
_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 60.0, 1.0
# When there are so many, every other one is dropped.
_MAX_SAMPLES = 400


class Lookout:
    """Looks at a build's folder and tells what it sees.

    Attributes:
        samples: seconds since 1970 and the bytes used then.
        largest_bytes: the largest number of bytes seen.
        starts: of workers.
    """

    def __init__(self, files: Workspace, observer: Observer) -> None:
        self.samples: list[tuple[float, int]] = []
        self.largest_bytes = 0
        self.starts: list[Start] = []
        self._files = files
        self._observer = observer
        self._pause_s = _SHORTEST_PAUSE_S
        self._next_s = 0.0

    def look(self, *, anyhow: bool = False) -> None:
        """Looks, unless it did so a moment ago.

        Args:
            anyhow: look in any case.
        """
        began_s = time.monotonic()
        if began_s < self._next_s and not anyhow:
            return
        # A store that doesn't answer now costs no more than what would have been seen.
        with suppress(LmserveError):
            self._look_at_disk()
            self._look_at_workers()
        took_s = time.monotonic() - began_s
        pause_s = min(max(self._pause_s, took_s / _PART), _LONGEST_PAUSE_S)
        self._next_s = time.monotonic() + pause_s

    def _look_at_disk(self) -> None:
        size_bytes = self._files.used_bytes()
        self.largest_bytes = max(self.largest_bytes, size_bytes)
        self.samples.append((time.time(), size_bytes))
        if len(self.samples) > _MAX_SAMPLES:
            self.samples = self.samples[::2]
            self._pause_s *= 2
        self._observer.disk_used(size_bytes)

    def _look_at_workers(self) -> None:
        starts = read_starts(self._files)
        if starts != self.starts:
            self.starts = starts
            restarts = sum(start.again > 0 for start in starts)
            self._observer.workers_started(len(starts) - restarts, restarts)
