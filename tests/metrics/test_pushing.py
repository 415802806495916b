"""A short job's last values in a real Pushgateway."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ports import free_port
from programs import output, program, run

USER, PASSWORD = "pusher", "hunter2"
# Of the password; 4, so that it costs nothing to check.
BCRYPT = "$2b$04$ZD9qHBDiqd9pesFN6UKLLeeuajsBnwIdAaeIh4v/kPHi9kvnF0ZoO"


def read(url: str) -> list[str]:
    told = httpx.get(f"{url}/metrics", auth=(USER, PASSWORD), timeout=5).raise_for_status().text
    return [line for line in told.splitlines() if line.startswith("lmserve_")]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the Pushgateway's own basic authentication."""
    folder = tmp_path_factory.mktemp("gateway")
    config = folder / "web.yml"
    config.write_text(f"basic_auth_users:\n  {USER}: {BCRYPT}\n")
    port = free_port()
    path = program("prometheus-pushgateway", "prometheus-pushgateway")
    command = [
        path,
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.config.file={config}",
        # Debian's keeps what was pushed in one file of the machine, for all gateways.
        f"--persistence.file={folder / 'pushed'}",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        end_s = time.monotonic() + 30
        while True:
            try:
                read(url)
                break
            except httpx.HTTPError:
                assert time.monotonic() < end_s
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


SCRIPT = """
import sys
from lmserve.metrics.pushing import pushing
from prometheus_client import CollectorRegistry
from lmserve.metrics import families, job_metrics
registry = CollectorRegistry()
with pushing(sys.argv[1], "r", "build"):
    families.gauge(job_metrics.RUNNING, registry).labels("r", "build").set(1)
    families.gauge(job_metrics.ADVANCED, registry).labels("r", "build").set(7)
    families.counter(job_metrics.WORDS, registry).labels("r").inc(5)
"""


def push(url: str, folder: Path, password: str) -> str:
    """What the job that pushes says on standard error."""
    variables = {
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "LMSERVE_PUSH_USER": USER,
        "LMSERVE_PUSH_PASSWORD": password,
    }
    command = [sys.executable, "-c", SCRIPT, url]
    environment = os.environ | variables
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return result.stderr


def test_a_gateway_keeps_what_a_job_counted_but_not_that_it_lived(
    gateway: str, tmp_path: Path
) -> None:
    assert push(gateway, tmp_path, PASSWORD) == ""
    lines = read(gateway)
    labels = '{instance="",job="lmserve",kind="build",run="r"}'
    assert f"lmserve_build_words_total{labels} 5" in lines
    assert f"lmserve_job_last_progress_time_seconds{labels} 7" in lines
    assert not any(line.startswith("lmserve_job_running") for line in lines)


def test_a_gateway_refuses_a_wrong_password_which_nobody_is_told(
    gateway: str, tmp_path: Path
) -> None:
    before = read(gateway)
    said = push(gateway, tmp_path, "letmein")
    assert f"metrics were not pushed to {gateway}: HTTP Error 401" in said
    assert "letmein" not in said
    assert read(gateway) == before


def test_a_training_pushes_the_last_validation_perplexity(
    gateway: str, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMSERVE_PUSH_USER", USER)
    monkeypatch.setenv("LMSERVE_PUSH_PASSWORD", PASSWORD)
    tiny = ("embedding_size=8", "hidden_size=8", "epochs=2", "batch_size=16", "threads=1")
    settings = [part for setting in tiny for part in ("--set", setting)]
    command = ["train", tiny_text, "--valid", tiny_text, "-o", tmp_path / "net", *settings]
    output(*command, "--push-metrics", gateway)
    (line,) = [
        line
        for line in read(gateway)
        if line.startswith("lmserve_training_perplexity{") and 'split="valid"' in line
    ]
    manifest = json.loads((tmp_path / "net" / "manifest.json").read_text())
    assert float(line.split()[-1]) == manifest["epochs"][-1]["valid_perplexity"]


def test_a_gateway_that_is_away_does_not_fail_the_job(tiny_text: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = run("counts", tiny_text, "-o", tmp_path / "counts", "--order=2", "--push-metrics", url)
    assert result.returncode == 0, result.stderr
    assert f"metrics were not pushed to {url}" in result.stderr


def test_no_password_stands_in_the_url(tmp_path: Path) -> None:
    url = "http://me:hunter2@127.0.0.1:9091"
    result = run("counts", "none", "-o", tmp_path / "counts", "--push-metrics", url)
    assert result.returncode == 2
    assert "hunter2" not in result.stderr
    assert "LMSERVE_PUSH_PASSWORD" in result.stderr
