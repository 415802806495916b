"""Memory of this process and its descendants over time, seen from a process beside them.

To look costs processor time, which must not be counted as theirs.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from select import select

import psutil

_SAMPLE_S = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one moment, in bytes; `at_s` seconds after the first sample.

    Attributes:
        ours: driver and workers; pages that several share are divided among them (PSS), mapped
            files included.
        ray: Ray's own processes.
    """

    at_s: float
    ours: int
    ray: int


class MemorySampler:
    """Samples this process and its descendants while a `with` block runs.

    Attributes:
        samples: what was seen, a few times a second; there when the block has ended.
    """

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    @property
    def peak_bytes(self) -> int:
        """The largest sum over driver and workers."""
        return max(sample.ours for sample in self.samples)

    @property
    def ray_bytes(self) -> int:
        """The largest sum over Ray's own processes."""
        return max(sample.ray for sample in self.samples)

    def __enter__(self) -> "MemorySampler":
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        # It has started, and is about to take the first sample.
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *error: object) -> None:
        told, _ = self._process.communicate()
        self.samples = [Sample(**json.loads(line)) for line in told.splitlines()]


def _samples(of: int) -> Iterator[Sample]:
    """A process and its descendants but for this, until standard input ends."""
    root = psutil.Process(of)
    started_s = time.monotonic()
    while True:
        ours = ray = 0
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if process.pid == os.getpid():
                    continue
                pss = process.memory_full_info().pss
                mine = process == root or "NgramWorker" in " ".join(process.cmdline())
                ours, ray = (ours + pss, ray) if mine else (ours, ray + pss)
        yield Sample(time.monotonic() - started_s, ours, ray)
        if select([sys.stdin], [], [], _SAMPLE_S)[0]:
            return


if __name__ == "__main__":
    print(flush=True)
    # Told in the end: nobody reads meanwhile, and a pipe holds little.
    for sample in list(_samples(int(sys.argv[1]))):
        print(json.dumps(asdict(sample)))
