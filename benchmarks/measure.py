"""Measuring processes: wall and CPU time, and memory that is not counted twice."""

import contextlib
import os
import platform
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

_SAMPLE_S = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What something cost: wall and CPU time in seconds, peak memory in bytes."""

    wall_s: float
    cpu_s: float
    memory_bytes: int


def run_pipeline(*commands: list[str], stdin: Path) -> Cost:
    """Runs programs one into the next; memory is the sum of their peaks."""
    started_s = time.monotonic()
    source = stdin.open("rb")
    processes: list[subprocess.Popen[bytes]] = []
    for i, command in enumerate(commands):
        last = i + 1 == len(commands)
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.DEVNULL if last else subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        source.close()
        source = process.stdout or source
        processes.append(process)
    cpu_s, memory_bytes = 0.0, 0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{process.args} failed with status {status}")
        cpu_s += usage.ru_utime + usage.ru_stime
        memory_bytes += usage.ru_maxrss * 1024
    return Cost(wall_s=time.monotonic() - started_s, cpu_s=cpu_s, memory_bytes=memory_bytes)


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
        samples: what was seen, a few times a second.
    """

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def peak_bytes(self) -> int:
        """The largest sum over driver and workers."""
        return max(sample.ours for sample in self.samples)

    @property
    def ray_bytes(self) -> int:
        """The largest sum over Ray's own processes."""
        return max(sample.ray for sample in self.samples)

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        me = psutil.Process()
        started_s = time.monotonic()
        while True:
            ours = ray = 0
            for process in (me, *me.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    pss = process.memory_full_info().pss
                    mine = process == me or "NgramWorker" in " ".join(process.cmdline())
                    ours, ray = (ours + pss, ray) if mine else (ours, ray + pss)
            self.samples.append(Sample(time.monotonic() - started_s, ours, ray))
            if self._stop.wait(_SAMPLE_S):
                return


def environment() -> str:
    """Date, hardware and versions, as a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory_gib = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("lmserve", "ray", "numba", "numpy"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} x {model}, {memory_gib:.0f} GiB, "
        f"Python {platform.python_version()}, {packages}"
    )
