"""Jobs as a cluster runs them: `ray job submit --working-dir . -- python -m jobs.NAME ...`."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lmserve

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(sys.executable).parent
TIMEOUT_S = 120


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def submit() -> Iterator[list[str]]:
    """The command that submits a job to a cluster of one node, started for these tests."""
    gcs_port, dashboard_port, agent_port = free_ports(3)
    environment = os.environ | {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # A short path: Ray makes sockets in it, whose names are limited.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        command = [str(PROGRAMS / "ray"), "start", "--head", "--block", "--num-cpus=2"]
        command += [f"--port={gcs_port}", f"--dashboard-port={dashboard_port}"]
        # The agent, which starts the jobs, would else share its port with the Ray of other tests.
        command += [f"--dashboard-agent-listen-port={agent_port}"]
        command += [f"--temp-dir={folder}", "--disable-usage-stats"]
        with Path(folder, "head.log").open("wb") as log:
            head = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_for_port(dashboard_port, head)
            wait_for_port(agent_port, head)
            yield [
                "env", "RAY_AUTH_MODE=disabled", str(PROGRAMS / "ray"), "job", "submit",
                "--address", f"http://127.0.0.1:{dashboard_port}", "--working-dir", str(ROOT), "--",
            ]  # fmt: skip
        finally:
            head.send_signal(signal.SIGINT)
            head.wait(60)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, "the head ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the head did not come up")


def test_a_build_is_a_job(submit: list[str], tiny_text: Path, tiny_model_path: Path) -> None:
    output = tiny_text.parent / "submitted"
    job = ["python", "-m", "jobs.build_ngram", str(tiny_text), "--output", str(output)]
    job += ["--order", "3", "--workers", "2"]
    result = subprocess.run([*submit, *job], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tokenize: " in result.stdout
    assert lmserve.load(output).digest == lmserve.load(tiny_model_path).digest


def test_a_job_that_fails_says_why(submit: list[str], tmp_path: Path) -> None:
    job = ["python", "-m", "jobs.evaluate", str(tmp_path), str(tmp_path / "text")]
    result = subprocess.run([*submit, *job], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == 1
    assert "is not a model" in result.stdout
