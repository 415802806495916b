"""Ray clusters of several nodes on this machine, started as operators start them: `ray start`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_ports

PROGRAMS = Path(sys.executable).parent
TOKEN = "0123456789abcdef0123456789abcdef"
_START_S = 120


@contextmanager
def folder_of_ray() -> Iterator[str]:
    """A folder for a cluster's files, with a short path; it goes when the last of them has.

    Some end a little later than the one that started them, and make files there until then.
    """
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        yield folder
    finally:
        deadline_s = time.monotonic() + _START_S
        while Path(folder).exists():
            try:
                shutil.rmtree(folder)
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.5)


class Nodes:
    """A cluster whose nodes are processes of `ray start --block`, ended one by one.

    Args:
        folder: for Ray's files; a short path, as sockets lie in it.
        environment: of all nodes, beside that of the tests.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        ports = free_ports(4)
        self.port, self.client_port, self.dashboard_port, self._agent_port = ports
        self.folder = folder
        self.environment = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            **environment,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start_head(self, *options: str, **environment: str) -> None:
        self._start(
            *("--head", f"--port={self.port}", f"--ray-client-server-port={self.client_port}"),
            *(f"--dashboard-port={self.dashboard_port}", f"--temp-dir={self.folder}/head"),
            f"--dashboard-agent-listen-port={self._agent_port}",
            *options,
            **environment,
        )

    def start_worker(self, *options: str, **environment: str) -> None:
        number = len(self._processes)
        agent = f"--dashboard-agent-listen-port={free_ports(1)[0]}"
        where = (f"--address={self.address}", f"--temp-dir={self.folder}/worker{number}", agent)
        self._start(*where, *options, **environment)

    def run(
        self, *command: str, timeout_s: float = 120, **environment: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program with the nodes' environment, changed: None unsets a variable."""
        changed = {**os.environ, **self.environment, **environment}
        given = {name: value for name, value in changed.items() if value is not None}
        return subprocess.run(command, env=given, capture_output=True, text=True, timeout=timeout_s)

    def python(self, script: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
        """Runs a script."""
        return self.run(sys.executable, "-c", script, **environment)

    @contextmanager
    def started(self, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """A program with the nodes' environment, and its log; killed if it lives at the end."""
        log = self.folder / "started.log"
        with log.open("wb") as output:
            environment = os.environ | self.environment
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process, log
        finally:
            process.kill()
            process.wait(60)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def _start(self, *options: str, **environment: str) -> None:
        command = [str(PROGRAMS / "ray"), "start", "--block", "--disable-usage-stats", *options]
        log = self.folder / f"node{len(self._processes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=os.environ | self.environment | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)
        deadline_s = time.monotonic() + _START_S
        while b"Ray runtime started" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            if time.monotonic() > deadline_s:
                pytest.fail(log.read_text())
            time.sleep(0.2)


@contextmanager
def nodes(**environment: str) -> Iterator[Nodes]:
    """A cluster without nodes yet; stopped at the block's end."""
    with folder_of_ray() as folder:
        cluster = Nodes(Path(folder), environment)
        try:
            yield cluster
        finally:
            cluster.stop()
