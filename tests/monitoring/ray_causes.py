"""What makes alerts about replicas and workers fire: a real Ray, whose processes are killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import psutil
from corpora import zipf_text
from ports import free_port
from watched_nodes import Node

from lmserve.metrics import membership
from lmserve.metrics.sharing import CHOICE_VARIABLE

Found = TypeVar("Found")

# A Ray for this machine only, which others' settings do not lock.
_OPEN = {"RAY_AUTH_MODE": "disabled"}


def replicas_and_workers_are_killed(node: Node) -> None:
    """A replica that is killed cannot start again while its model is not there."""
    model = node.work / "model"
    shutil.copytree(node.model, model)
    all_live = f'lmserve_replicas{{cluster="{node.cluster}"}} == 2'
    with (
        # Its sockets need a short path.
        TemporaryDirectory(prefix="lm", ignore_cleanup_errors=True) as folder,
        running_ray(Path(folder), node.folder) as (ray, address),
        lmserve(node, "serve", model, "--replicas=2", f"--port={free_port()}", address),
    ):
        node.sees(all_live)
        a_worker_is_killed(node, ray, address)
        assert node.firing() <= {"LmserveWorkerRestarting"}
        model.rename(node.work / "away")
        first, second = replicas(node)
        os.kill(first, signal.SIGKILL)
        node.fire("LmserveReplicaDown")
        assert "LmserveNoReplicas" not in node.firing()
        os.kill(second, signal.SIGKILL)
        node.fire("LmserveNoReplicas", "LmserveReplicaRestarting")
        (node.work / "away").rename(model)
        node.sees(all_live)
        node.end("LmserveReplicaDown", "LmserveNoReplicas", "LmserveReplicaRestarting")
    node.end("LmserveWorkerRestarting")


def a_worker_is_killed(node: Node, ray: psutil.Process, address: str) -> None:
    text, built = node.work / "text.txt", node.work / "built"
    text.write_text(zipf_text(200_000, length=30, words=40_000))
    arguments = ("build", text, "-o", built, "--order=4", "--workers=1", address)
    with lmserve(node, *arguments) as build:
        worker = first(lambda: filter(is_worker, ray.children(recursive=True)))
        first(lambda: built.with_name("built.building").glob("pieces/*"))
        # Else the build would be over before Prometheus sees that it has a worker.
        worker.suspend()
        node.sees(f'lmserve_build_workers{{cluster="{node.cluster}"}} == 1')
        worker.kill()
        assert build.wait(240) == 0
    node.fire("LmserveWorkerRestarting")


def first(find: "Callable[[], Iterator[Found]]") -> Found:
    """What is found first, as soon as there is something."""
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s:
        for found in find():
            return found
        time.sleep(0.01)
    raise AssertionError("nothing is found")


def replicas(node: Node) -> list[int]:
    living = membership.living(node.folder).values()
    return [process.pid for process in living if process.role == "replica"]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "NgramWorker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


@contextmanager
def lmserve(node: Node, *arguments: object) -> "Iterator[subprocess.Popen[str]]":
    """`lmserve ARGUMENTS...` on a node; ended in good order after the block."""
    with node.python("-m", "jobs.cli", *arguments, **_OPEN) as process:
        yield process
        process.send_signal(signal.SIGINT)
        process.wait(90)


@contextmanager
def running_ray(folder: Path, metrics: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A Ray for two replicas and a worker, and the option that names it.

    Args:
        folder: for its own files.
        metrics: where its node counts, and so do replicas on it.
    """
    port = free_port()
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--head", "--block", f"--port={port}", "--num-cpus=3"]
    command += [f"--temp-dir={folder}", "--include-dashboard=false", "--disable-usage-stats"]
    command += ["--object-store-memory=200000000"]
    environment = os.environ | _OPEN | {CHOICE_VARIABLE: str(metrics), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            assert any("Ray runtime started" in line for line in process.stdout)
            yield psutil.Process(process.pid), f"--address=127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
