"""The units for bare machines: by systemd's own judgement, and run as they stand."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from deployment_files import DEPLOY, check_lmserve, check_ray_start, check_serve
from nodes import PROGRAMS, TOKEN
from ports import free_ports
from programs import program

from cluster import edge
from lmserve.metrics.sharing import CHOICE_VARIABLE
from lmserve.service.redis_connection import PASSWORD_FILE_VARIABLE

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SHARED = DEPLOY / "systemd" / "lmserve-.service.d" / "hardening.conf"
INSTALLED = "/opt/lmserve/bin/"
CHECKS = {"ray": check_ray_start, "lmserve": check_lmserve, "serve": check_serve}


def settings(path: Path, key: str) -> list[str]:
    """All values of a key, in order."""
    lines = path.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def commands() -> list[str]:
    keys = ("ExecStart", "ExecReload", "ExecStop")
    return [command for unit in UNITS for key in keys for command in settings(unit, key)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as on a machine whose programs are these."""
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(DEPLOY / "systemd", folder, dirs_exist_ok=True)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace(INSTALLED, f"{PROGRAMS}/"))
    return folder


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), *arguments]
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_systemd_finds_no_fault(installed: Path) -> None:
    units = [str(installed / unit.name) for unit in UNITS]
    assert len(units) == 5
    result = analyze(installed, "verify", *units)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    broken = installed / units[0]
    content = broken.read_text()
    broken.write_text(content.replace("Restart=", "Restrat="))
    try:
        assert "Restrat" in analyze(installed, "verify", str(broken)).stderr
    finally:
        broken.write_text(content)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_may_do_little(unit: Path, installed: Path) -> None:
    """Of 10, which is everything; 2 and below is what systemd calls OK."""
    judged = ("security", "--offline=true", "--threshold=17")
    result = analyze(installed, *judged, str(installed / unit.name))
    assert result.returncode == 0, result.stdout[-300:]


@pytest.mark.parametrize("command", commands())
def test_commands_and_options_exist(command: str) -> None:
    command = command.replace("$LMSERVE_NODES", "--node a:9465")
    name, *arguments = shlex.split(command.removeprefix(INSTALLED))
    if name == "ray":
        assert arguments.pop(0) == "start"
    CHECKS[name](arguments)


def test_variables_are_those_of_the_code() -> None:
    given = dict(value.split("=", 1) for value in settings(SHARED, "Environment"))
    assert {name for name in given if name.startswith("LMSERVE_")} == {
        CHOICE_VARIABLE,
        PASSWORD_FILE_VARIABLE,
    }
    assert given[edge.VARIABLE] == edge.IMPORT_PATH
    told = (DEPLOY / "systemd" / "environment").read_text()
    for command in commands():
        for name in re.findall(r"\$\{?(\w+)", command):
            assert f"\n{name}=" in told


class Machine:
    """Runs units' commands as systemd would, with folders and ports of the test's."""

    def __init__(self, folder: Path) -> None:
        usual = ("6379", "10001", "8265", "9465", "8000", "8080")
        self.ports = dict(zip(usual, free_ports(len(usual)), strict=True))
        self._folder = folder
        (folder / "ray-token").write_text(TOKEN)
        (folder / "redis-password").write_text("hunter2")
        self._places = {
            INSTALLED: f"{PROGRAMS}/",
            "%d/": f"{folder}/",
            "/var/lib/lmserve/ray": f"{folder}/r",
            "/var/lib/lmserve": str(folder),
            "/run/lmserve": f"{folder}/run",
            "/var/cache": f"{folder}/cache",
            "/etc/lmserve/serve.yaml": f"{folder}/serve.yaml",
            "${LMSERVE_NODE_ROLE}": "serve",
            "${LMSERVE_HEAD}": "127.0.0.1:6379",
            "0.0.0.0": "127.0.0.1",
        }

    def command(self, unit: str, key: str = "ExecStart") -> list[str]:
        [line] = settings(DEPLOY / "systemd" / f"{unit}.service", key)
        return shlex.split(self._here(line))

    def environment(self) -> dict[str, str]:
        given = dict(value.split("=", 1) for value in settings(SHARED, "Environment"))
        told = {name: self._here(value) for name, value in given.items()}
        # Other Rays of this machine may be running.
        return {**os.environ, **told, "RAY_ADDRESS": ""}

    @contextmanager
    def running(self, unit: str, *more: str, says: bytes = b"") -> Iterator[None]:
        """The unit's program, started again when it fails before it says that it is ready."""
        log = self._folder / f"{unit}.log"
        process = self._start(unit, log, more)
        attempts = 1
        try:
            while not _says(process, log, says):
                assert attempts < 4, log.read_text()
                attempts += 1
                process = self._start(unit, log, more)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def _start(self, unit: str, log: Path, more: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [*self.command(unit), *more],
                env=self.environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def run(self, unit: str, key: str = "ExecStart") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(unit, key),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def _here(self, text: str) -> str:
        for place, here in self._places.items():
            text = text.replace(place, here)
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(free), text)
        return text


def _says(process: subprocess.Popen[bytes], log: Path, words: bytes) -> bool:
    """Whether a program comes to say that; False when it ended before."""
    wait_for(lambda: words in log.read_bytes() or process.poll() is not None)
    return process.poll() is None


def wait_for(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.3)


def test_two_machines_serve(tiny_model_path: Path) -> None:
    """Head, worker, exporter, service, a change of it and its end, all by the units' commands."""
    # A short path: Ray makes sockets in it, whose names are limited.
    with tempfile.TemporaryDirectory(prefix="lm-") as name:
        folder = Path(name)
        machine = Machine(folder)
        config = yaml.safe_load((DEPLOY / "serve.yaml").read_text())
        config["http_options"] = {"host": "127.0.0.1", "port": machine.ports["8000"]}
        [application] = config["applications"]
        application["args"]["model"] = str(tiny_model_path)
        application["deployments"][0]["ray_actor_options"]["num_cpus"] = 0.1
        (folder / "serve.yaml").write_text(yaml.safe_dump(config))
        with serving_on(machine) as url:
            assert httpx.post(f"{url}/v1/score", json={"text": "w0 w1"}).status_code == 200
            exporter = f"http://127.0.0.1:{machine.ports['9465']}/metrics"
            two = 'lmserve_processes{role="replica"} 2.0'
            wait_for(lambda: two in httpx.get(exporter, timeout=30).text)
            assert machine.run("lmserve-serve", "ExecReload").returncode == 0
            assert machine.run("lmserve-serve", "ExecStop").returncode == 0
            wait_for(lambda: not answers(url))


@contextmanager
def serving_on(machine: Machine) -> Iterator[str]:
    # On one machine, each node needs files and ports of its own; what is named last holds.
    head_port, worker_port, metrics_port = free_ports(3)
    head = (f"--dashboard-agent-listen-port={head_port}", "--num-cpus=1")
    worker = (f"--dashboard-agent-listen-port={worker_port}", "--num-cpus=1")
    worker += (f"--metrics-export-port={metrics_port}",)
    worker += (f"--temp-dir={machine.environment()['HOME']}/w",)
    url = f"http://127.0.0.1:{machine.ports['8000']}"
    started = b"Ray runtime started"
    with (
        machine.running("lmserve-ray-head", *head, says=started),
        machine.running("lmserve-ray-worker", *worker, says=started),
        machine.running("lmserve-metrics"),
    ):
        # As `Restart=on-failure` does.
        wait_for(lambda: machine.run("lmserve-serve").returncode == 0)
        wait_for(lambda: answers(url))
        yield url


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
