"""Two replicas behind HAProxy under load: a swap and a killed replica, and no request is lost."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from ports import free_port
from steady_load import Load, wait_for

import lmserve
from cluster.proxying import check_haproxy, haproxy_environment
from cluster.serve_config import ServeConfig
from cluster.serving import serving
from lmserve.errors import ModelError, OptionError
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish


class Service:
    """`lmserve serve --haproxy` of a model directory, as a program."""

    def __init__(self, models: Path, log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "jobs.serve", str(models), "--haproxy", "--poll", "0.2"]
        command += ["--port", str(port), "--replicas", "2", "--cpus", "0.5"]
        self._statistics = free_port()
        environment = os.environ | {"RAY_SERVE_HAPROXY_STATS_PORT": str(self._statistics)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        wait_for(lambda: b"curl" in log.read_bytes() or self.process.poll() is not None, 200)
        assert self.process.poll() is None, log.read_text()

    def seen_to_live(self) -> int:
        """The replicas that HAProxy sends requests to."""
        answer = httpx.get(f"http://127.0.0.1:{self._statistics}/stats;csv")
        servers = csv.DictReader(answer.text.removeprefix("# ").splitlines())
        return sum("REPLICA" in one["svname"] and one["status"] == "UP" for one in servers)

    def replicas(self) -> set[int]:
        found = set()
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if any("ray::ServeReplica" in part for part in child.cmdline()):
                    found.add(child.pid)
            except psutil.NoSuchProcess:
                continue
        return found


@pytest.fixture(scope="module")
def models(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    publish(tiny_model_path, ModelDirectory.at(folder), name="m", version="1")
    return folder


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(models, tmp_path_factory.mktemp("log") / "log")
    try:
        yield service
    finally:
        service.process.send_signal(signal.SIGTERM)
        try:
            assert service.process.wait(90) == 0
        finally:
            service.process.kill()


def test_a_new_version_takes_over_without_a_failed_request(
    service: Service, models: Path, tiny_model: lmserve.NgramModel, other_model_path: Path
) -> None:
    other = lmserve.load(other_model_path).digest
    with Load(service.url) as load:
        wait_for(lambda: load.answers() >= 50, 60)
        assert set(load.digests) == {tiny_model.digest}
        publish(other_model_path, ModelDirectory.at(models), name="m", version="2")
        # Of both replicas.
        wait_for(lambda: set(load.digests[-50:]) == {other}, 60)
    assert load.failures == []
    [card] = httpx.get(f"{service.url}/v1/models").json()["data"]
    assert (card["id"], card["version"], card["versions"]) == ("m", "2", ["1", "2"])
    metrics = httpx.get(f"{service.url}/metrics").text
    [info] = [line for line in metrics.splitlines() if line.startswith("lmserve_model_info{")]
    assert 'name="m"' in info
    assert 'version="2"' in info
    assert 'lmserve_model_swaps_total{name="m"} 2.0' in metrics


def test_a_killed_replica_fails_no_request(service: Service) -> None:
    before = service.replicas()
    assert len(before) == 2
    wait_for(lambda: service.seen_to_live() == 2, 60)
    with Load(service.url) as load:
        wait_for(lambda: load.answers() >= 50, 60)
        os.kill(before.pop(), signal.SIGKILL)
        # The other goes on alone, until another one has come.
        wait_for(lambda: len(service.replicas() - before) == 1, 120)
        there = load.answers()
        wait_for(lambda: load.answers() >= there + 100, 120)
    assert load.failures == []
    assert httpx.get(f"{service.url}/readyz").json()["models"] == ["m"]


def test_a_folder_without_models_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="neither a model nor"),
        serving(ServeConfig(model=tmp_path)),
    ):
        pass


def test_a_device_needs_a_gpu() -> None:
    with pytest.raises(OptionError, match="no GPU is asked for"):
        ServeConfig(model="model", device="cuda")


def test_haproxy_is_for_a_ray_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a Ray that runs already"):
        check_haproxy("auto")
    monkeypatch.setenv("RAY_SERVE_HAPROXY_RETRY_ON", "none")
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    with haproxy_environment(tmp_path):
        assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert os.environ["RAY_SERVE_HAPROXY_RETRY_ON"] == "none"
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in os.environ
    assert os.environ["RAY_SERVE_HAPROXY_RETRY_ON"] == "none"
