"""What clients notice of a new version, of a rollback, and of a replica that is killed.

python -m benchmarks.serving_swaps MODEL OTHER [--connections 8] [--seconds 10] [--ray-proxy]

Two replicas under steady load; OTHER is published in MODEL's place, rolled back, and one replica is
ended by SIGKILL. Failed are all requests that were not answered with status 200, those included
whose connection broke; the client tries nothing again.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
from typer import Argument, Option, run

import lmserve
from benchmarks.measure import environment
from benchmarks.steady_load import SteadyLoad, describe
from cluster.serve_config import ServeConfig
from cluster.serving import serving

_NAME = "model"
_REPLICAS = 2
# So many answers of one version, one after the other: both replicas have it.
_SETTLED_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Phase:
    """What is done under load, and the digest of the model that answers in the end."""

    name: str
    act: Callable[[], object]
    digest: str


def measure(
    model: Annotated[Path, Argument(help="Model folder.")],
    other: Annotated[Path, Argument(help="The one that takes its place.")],
    connections: Annotated[int, Option(min=1)] = 8,
    seconds: Annotated[float, Option(help="Of each phase, at least.")] = 10.0,
    pause_ms: Annotated[float, Option(help="Between an answer and the next request.")] = 20.0,
    ray_proxy: Annotated[bool, Option("--ray-proxy", help="Ray's own proxy, no HAProxy.")] = False,
) -> None:
    """Measure requests while models are swapped and a replica dies."""
    first, second = (lmserve.load(folder).digest for folder in (model, other))
    with tempfile.TemporaryDirectory() as folder:
        _publish(model, folder)
        phases = [
            Phase("nothing happens", lambda: None, first),
            Phase("a new version", lambda: _publish(other, folder), second),
            Phase("rolled back", lambda: _lmserve("rollback", folder, _NAME), first),
            Phase("a replica killed", _kill_replica, first),
            Phase("nothing happens", lambda: None, first),
        ]
        config = ServeConfig(
            model=folder,
            port=_free_port(),
            replicas=_REPLICAS,
            cpus_per_replica=0.5,
            haproxy=not ray_proxy,
        )
        print(f"{environment()}, {'Ray proxy' if ray_proxy else 'HAProxy'}\n", flush=True)
        with serving(config) as url, SteadyLoad(url, connections, pause_ms / 1000) as load:
            begun_s = []
            for phase in phases:
                begun_s.append(time.monotonic())
                phase.act()
                while time.monotonic() < begun_s[-1] + seconds or not _settled(load, phase.digest):
                    time.sleep(0.1)
        _print(load, phases, begun_s)


def _publish(model: Path, folder: str) -> None:
    _lmserve("publish", model, "--to", folder, "--name", _NAME)


def _lmserve(*arguments: object) -> None:
    """In a process of its own, as the clients are in this one."""
    program = [sys.executable, "-m", "jobs.cli", *map(str, arguments)]
    subprocess.run(program, check=True, stderr=subprocess.DEVNULL)


def _settled(load: SteadyLoad, digest: str) -> bool:
    last = load.requests[-_SETTLED_REQUESTS:]
    return all(request.digest == digest for request in last)


def _kill_replica() -> None:
    """Ends one of the replicas that this process's Ray runs."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any("ray::ServeReplica" in part for part in process.cmdline()):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    assert len(found) == _REPLICAS, found
    os.kill(found[-1], signal.SIGKILL)


def _print(load: SteadyLoad, phases: Sequence[Phase], begun_s: Sequence[float]) -> None:
    """A row a phase, by when requests ended: those that a dead replica had count in its phase."""
    print("| | seconds | requests | failed | longest | p50 | p99 | answers by version |")
    print("| --- " * 8 + "|")
    ends_s = [*begun_s[1:], max(request.ended_s for request in load.requests)]
    for phase, begun, end in zip(phases, begun_s, ends_s, strict=True):
        during = [request for request in load.requests if begun <= request.ended_s <= end]
        versions = Counter(request.digest[:6] or request.problem for request in during)
        shown = ", ".join(f"{version}: {count:,}" for version, count in versions.items())
        print(f"| {phase.name} | {end - begun:.0f} | {describe(during)} | {shown} |")
    total_s = ends_s[-1] - begun_s[0]
    print(f"| all | {total_s:.0f} | {describe(load.requests)} | |", flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    run(measure)
