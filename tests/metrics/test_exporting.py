"""The exporter of a node, as its own program and on a Ray cluster."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_port
from programs import program


def read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def wait_for(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 90
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.2)


@contextmanager
def exporting(*options: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "jobs.metrics", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_a_node_tells_of_its_processes_and_disks() -> None:
    port = free_port()
    with exporting("--port", port) as process:
        wait_for(process, lambda: "lmserve_processes" in read(port))
        text = read(port)
    assert 'lmserve_processes{role="exporter"} 1.0' in text
    [memory] = [
        line for line in text.splitlines() if line.startswith("lmserve_resident_memory_bytes{")
    ]
    assert float(memory.split()[1]) > 1e7
    assert 'lmserve_disk_free_bytes{mount="' in text
    assert "lmserve_build_info{" in text
    command = [program("promtool", "prometheus"), "check", "metrics"]
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.usefixtures("ray_session")
def test_a_cluster_has_an_exporter_and_a_list_of_them(tmp_path: Path) -> None:
    import ray

    port, targets = free_port(), tmp_path / "targets.json"
    cluster = ray.get_runtime_context().gcs_address
    with exporting("--address", cluster, "--port", port, "--targets", targets) as process:
        wait_for(process, targets.exists)
        [group] = json.loads(targets.read_text())
        ip = ray.nodes()[0]["NodeManagerAddress"]
        assert group == {"targets": [f"{ip}:{port}"], "labels": {"job": "lmserve"}}
        node = ray.get_runtime_context().get_node_id()
        exporter = ray.get_actor(f"lmserve-exporter-{port}-{node}", namespace="lmserve")
        text = read(port)
        assert 'lmserve_processes{role="exporter"}' in text
    ray.kill(exporter)
