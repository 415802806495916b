"""A Ray cluster of one node that takes jobs, as `ray start --head` makes it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nodes import folder_of_ray
from ports import free_ports

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
TIMEOUT_S = 120


@dataclass(frozen=True)
class RayHead:
    """The cluster's address.

    Attributes:
        dashboard: URL that takes jobs.
    """

    dashboard: str

    def job(self, action: str, *arguments: str, check: bool = True) -> str:
        """What `ray job ACTION ARGUMENTS...` says."""
        result = self.run(action, *arguments)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def submit(self, *entry_point: str) -> subprocess.CompletedProcess[str]:
        """`ray job submit` of a program in this repository, to its end."""
        return self.run("submit", "--working-dir", str(ROOT), "--", *entry_point)

    def run(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`ray job ACTION ARGUMENTS...`."""
        command = [str(PROGRAMS / "ray"), "job", action, "--address", self.dashboard, *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=os.environ | {"RAY_AUTH_MODE": "disabled"},
        )


@contextmanager
def running_head() -> Iterator[RayHead]:
    """A cluster of one node, started for this block."""
    gcs_port, dashboard_port, agent_port = free_ports(3)
    environment = os.environ | {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # A short path: Ray makes sockets in it, whose names are limited.
    with folder_of_ray() as folder:
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
            _wait_for_port(dashboard_port, head)
            _wait_for_port(agent_port, head)
            yield RayHead(f"http://127.0.0.1:{dashboard_port}")
        finally:
            head.send_signal(signal.SIGINT)
            head.wait(60)


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, "the head ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the head did not come up")
