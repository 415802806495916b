"""`lmserve monitor`: a folder from which Prometheus and Grafana start."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port
from programs import program, run

from lmserve.errors import LmserveError, OptionError
from lmserve.monitoring.folder import MonitorConfig, write_folder
from lmserve.monitoring.prometheus import check_configuration, running


def config(**changes: Any) -> MonitorConfig:
    given = {
        "cluster": "north",
        "nodes": ("10.0.0.7:9465", "10.0.0.8:9465"),
        "ray_targets": Path("/tmp/ray/targets.json"),
        "scrape_s": 15,
        "url": "http://127.0.0.1:9090",
    }
    return MonitorConfig(**{**given, **changes})


def test_prometheus_accepts_what_is_written(tmp_path: Path) -> None:
    write_folder(tmp_path, config())
    checked = subprocess.run(
        [program("promtool", "prometheus"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


def test_grafana_is_told_of_the_boards_and_of_prometheus(tmp_path: Path) -> None:
    write_folder(tmp_path, config(url="http://10.0.0.1:9099"))
    provisioning = tmp_path / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "lmserve.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://10.0.0.1:9099"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "lmserve.yml").read_text())[
        "providers"
    ]
    boards = [json.loads(path.read_text()) for path in Path(provider["options"]["path"]).iterdir()]
    assert {board["uid"] for board in boards} == {
        "lmserve-service",
        "lmserve-counting",
        "lmserve-training",
        "lmserve-cluster",
    }


def test_writing_again_drops_what_an_earlier_release_had(tmp_path: Path) -> None:
    write_folder(tmp_path, config())
    (tmp_path / "rules" / "lmserve-old.yml").write_text("groups: []")
    (tmp_path / "rules" / "own.yml").write_text("groups: []")
    (tmp_path / "data").mkdir()
    write_folder(tmp_path, config(nodes=("10.0.0.9:9465",)))
    assert not (tmp_path / "rules" / "lmserve-old.yml").exists()
    assert (tmp_path / "rules" / "own.yml").exists()
    assert (tmp_path / "data").exists()
    assert json.loads((tmp_path / "nodes.json").read_text()) == [{"targets": ["10.0.0.9:9465"]}]


def test_another_prometheus_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("global: {}")
    result = run("monitor", "--folder", tmp_path, "--no-start")
    assert result.returncode == 2
    assert "is not of 'lmserve monitor'; it is not touched" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["prometheus.yml"]
    assert (tmp_path / "prometheus.yml").read_text() == "global: {}"


@pytest.mark.parametrize("node", ["10.0.0.7", "http://10.0.0.7:9465", ":9465", "host:port"])
def test_what_is_no_address_is_refused(node: str) -> None:
    with pytest.raises(OptionError, match="no address") as error:
        config(nodes=(node,))
    assert "HOST:PORT" in error.value.remedy


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot write to"):
        write_folder(tmp_path / "file", config())


def test_promtools_finding_is_told(tmp_path: Path) -> None:
    program("promtool", "prometheus")
    write_folder(tmp_path, config())
    (tmp_path / "rules" / "own.yml").write_text("groups: [{name: a, rules: [{expr: 'sum('}]}]")
    with pytest.raises(LmserveError, match=r"promtool refuses .*unclosed left parenthesis"):
        check_configuration(tmp_path)


def test_a_prometheus_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    path = program("prometheus", "prometheus")
    (tmp_path / "prometheus.yml").write_text("nonsense: 1")
    with (
        pytest.raises(LmserveError, match="field nonsense not found"),
        running(path, tmp_path, "127.0.0.1", free_port()),
    ):
        pass


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    program("prometheus", "prometheus")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("monitor", "--folder", tmp_path, "--port", port)
    assert result.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in result.stderr
    assert "--port" in result.stderr


def test_it_runs_prometheus_until_it_is_interrupted(tmp_path: Path) -> None:
    program("prometheus", "prometheus")
    port = free_port()
    command = [sys.executable, "-m", "jobs.cli", "monitor", "--cluster", "north"]
    options = ["--folder", str(tmp_path), "--port", str(port)]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            said = iter(process.stderr or ())
            assert any("Ctrl-C" in line for line in said)
            target = first_target(f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert target["labels"] == {
        "cluster": "north",
        "instance": "127.0.0.1:9465",
        "job": "lmserve",
    }
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/")


def first_target(url: str) -> dict[str, Any]:
    """What Prometheus scrapes, as soon as it has read its files."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        with urllib.request.urlopen(f"{url}/api/v1/targets") as answer:
            if targets := json.load(answer)["data"]["activeTargets"]:
                return dict(targets[0])
        time.sleep(0.1)
    raise AssertionError("no target")


def test_no_start_only_writes(tmp_path: Path) -> None:
    result = run("monitor", "--folder", tmp_path / "new", "--no-start")
    assert result.returncode == 0, result.stderr
    assert "GF_PATHS_PROVISIONING" in result.stderr
    assert not (tmp_path / "new" / "data").exists()
