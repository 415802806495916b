"""Measuring programs: wall and CPU time, and memory."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil


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
