"""`lmserve metrics --address`: an exporter on each node of a real Ray cluster of several."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ports import free_port
from programs import run
from ray.cluster_utils import Cluster

from lmserve.metrics import membership
from lmserve.metrics.sharing import not_inherited

OTHER_NODE = "127.0.0.2"


@dataclass(frozen=True)
class Exporting:
    cluster: Cluster
    process: subprocess.Popen[bytes]
    port: int
    targets: Path
    log: Path
    metrics: Path

    def wait_for(self, holds: Callable[[], bool]) -> None:
        end_s = time.monotonic() + 120
        while not holds():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end_s, self.log.read_text()
            time.sleep(0.1)

    def tells(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return b'lmserve_processes{role="exporter"}' in answer.read()
        except OSError:
            return False

    def exporters(self) -> set[int]:
        living = membership.living(self.metrics).values()
        return {process.pid for process in living if process.role == "exporter"}

    def named(self) -> list[str]:
        if not self.targets.exists():
            return []
        (group,) = json.loads(self.targets.read_text())
        assert group["labels"] == {"job": "lmserve"}
        found: list[str] = group["targets"]
        return found

    def listens(self) -> set[int]:
        return {
            pid
            for pid in self.exporters()
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == self.port
        }


@pytest.fixture(scope="module")
def exporting(
    tmp_path_factory: pytest.TempPathFactory, metrics_folder: Path
) -> Iterator[Exporting]:
    folder = tmp_path_factory.mktemp("exporting")
    port, log, targets = free_port(), folder / "log", folder / "targets.json"
    with not_inherited():
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False})
    command = [sys.executable, "-m", "jobs.metrics", "--address", cluster.address]
    command += ["--port", str(port), "--targets", str(targets)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield Exporting(cluster, process, port, targets, log, metrics_folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        cluster.shutdown()


def test_nodes_get_exporters_as_they_come_and_targets_follow(exporting: Exporting) -> None:
    exporting.wait_for(lambda: exporting.tells() and len(exporting.named()) == 1)
    with not_inherited():
        node = exporting.cluster.add_node(node_ip_address=OTHER_NODE)
    # Of one machine, two share the port: one of them listens, and the other is content with it.
    exporting.wait_for(lambda: len(exporting.exporters()) == 2 and len(exporting.named()) == 2)
    assert f"{OTHER_NODE}:{exporting.port}" in exporting.named()
    assert len(exporting.listens()) == 1
    exporting.cluster.remove_node(node)
    exporting.wait_for(lambda: len(exporting.named()) == 1)


def test_a_killed_exporter_serves_again(exporting: Exporting) -> None:
    exporting.wait_for(exporting.tells)
    (before,) = exporting.listens()
    os.kill(before, signal.SIGKILL)
    exporting.wait_for(lambda: exporting.tells() and exporting.listens() != {before})


def test_a_port_that_something_else_has_is_told_of(exporting: Exporting) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("metrics", "--address", exporting.cluster.address, "--port", port)
    assert result.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be had" in result.stderr
