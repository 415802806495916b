"""Connecting to a cluster that demands a token, and what of the environment goes with it."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from nodes import TOKEN, Nodes, nodes
from ports import free_ports
from steady_load import wait_for

import lmserve
from cluster.environment import passed_on
from cluster.own_ray import own_ray_options
from lmserve.errors import OptionError
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "hunter2-aws",
    "AWS_SESSION_TOKEN": "hunter2-session",
    "GOOGLE_APPLICATION_CREDENTIALS": "/hunter2-google",
    "LMSERVE_REDIS_PASSWORD": "hunter2-redis",
}
CONNECT = """
import sys
from cluster.placement import processors
from cluster.session import connect
from lmserve.errors import LmserveError
try:
    connect({address!r})
    print(processors())
except LmserveError as error:
    sys.exit(str(error))
"""

STOPPED = """
import os, signal
from cluster.session import connect
connect({address!r})
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except SystemExit as stop:
    assert stop.code == signal.SIGTERM
    print("in good order")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes() as cluster:
        cluster.start_head("--num-cpus=3")
        yield cluster


def addresses(cluster: Nodes) -> list[str]:
    return [cluster.address, f"ray://127.0.0.1:{cluster.client_port}"]


def refusal(cluster: Nodes, address: str, **environment: str | None) -> str:
    started_s = time.monotonic()
    result = cluster.python(CONNECT.format(address=address), **environment)
    assert result.returncode == 1, result.stdout
    # Of Ray's own attempts: 20 s and more.
    assert time.monotonic() - started_s < 15
    assert "Traceback" not in result.stderr
    assert TOKEN not in result.stderr
    return result.stderr


def test_the_right_token_is_let_in(cluster: Nodes) -> None:
    for address in addresses(cluster):
        result = cluster.python(CONNECT.format(address=address))
        if "Starting Ray client server failed" in result.stderr:
            # Ray gives it some seconds for that, which a busy machine may need more of.
            result = cluster.python(CONNECT.format(address=address))
        assert result.stdout == "3\n", result.stderr


def test_other_tokens_are_told_what_to_set(cluster: Nodes, tmp_path: Path) -> None:
    head, client = addresses(cluster)
    for address in (head, client):
        wrong = refusal(cluster, address, RAY_AUTH_TOKEN="another" * 8)
        assert "demands its token, and this process has another\n" in wrong
        assert "RAY_AUTH_TOKEN_PATH" in wrong
    unset = refusal(cluster, head, RAY_AUTH_MODE=None, RAY_AUTH_TOKEN=None, HOME=str(tmp_path))
    assert "none, as RAY_AUTH_MODE is unset" in unset
    missing = refusal(cluster, client, RAY_AUTH_TOKEN=None, HOME=str(tmp_path))
    assert "there is no token for the Ray at" in missing


def test_a_head_that_is_not_there_is_told_of_at_once(cluster: Nodes) -> None:
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        told = refusal(cluster, address)
        assert ":1 does not answer" in told
        assert "ray://HOST:10001" in told


def test_sigterm_does_not_go_by_way_of_a_handler_for_crashes(cluster: Nodes) -> None:
    """Ray's takes memory, for which it waits for ever if the signal comes in an allocation."""
    result = cluster.python(STOPPED.format(address=cluster.address))
    assert result.stdout == "in good order\n", result.stderr
    assert "SIGTERM received" not in result.stderr


def test_credentials_stay_at_home(cluster: Nodes) -> None:
    """Neither workers get them, nor do Ray's logs and its dashboard's answers have them."""
    script = f"""
import json, os
import ray
from cluster.session import connect
connect({cluster.address!r})
names = {sorted(SECRETS)!r} + ["AWS_REGION", "CHOSEN"]
@ray.remote
def seen():
    return {{name: os.environ[name] for name in names if name in os.environ}}
print(json.dumps(ray.get(seen.remote())))
"""
    result = cluster.python(
        script,
        AWS_REGION="eu-1",
        CHOSEN="chosen",
        LMSERVE_PASS_ENVIRONMENT="CHOSEN",
        **SECRETS,
    )
    assert json.loads(result.stdout) == {"AWS_REGION": "eu-1", "CHOSEN": "chosen"}, result.stderr
    files = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert any(b"eu-1" in path.read_bytes() for path in files if path.suffix in (".log", ".out"))
    assert not [path for path in files if b"hunter2" in path.read_bytes()]


def test_the_service_is_started_from_elsewhere(
    cluster: Nodes, tiny_model_path: Path, tmp_path: Path
) -> None:
    """As a client, of models that are named by a URL: nothing here but the address."""
    models = f"file://{tmp_path}/models"
    publish(tiny_model_path, ModelDirectory.at(models), name="m", version="1")
    [port] = free_ports(1)
    client = ("--address", f"ray://127.0.0.1:{cluster.client_port}", "--port", str(port))
    with cluster.started(sys.executable, "-m", "jobs.serve", models, *client) as (process, log):
        wait_for(lambda: "curl" in log.read_text() or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/score", json={"text": "w0"})
        assert answer.json()["model"] == lmserve.load(tiny_model_path).digest
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()


def test_what_looks_like_a_secret_is_not_passed_on() -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "API_TOKEN", "DB_PASSWORD"):
        with pytest.raises(OptionError, match=f"names {name}, which looks like a secret"):
            passed_on({"LMSERVE_PASS_ENVIRONMENT": f"CHOSEN, {name}", name: "hunter2"})
    with pytest.raises(OptionError, match="has a password in it") as refused:
        passed_on({"AWS_ENDPOINT_URL": "https://me:hunter2@store"})
    assert "hunter2" not in str(refused.value)


def test_a_submitted_job_adds_nothing_to_what_it_was_given() -> None:
    environment = {"AWS_REGION": "eu-1", "PATH": "/bin"}
    assert passed_on(environment) == {"AWS_REGION": "eu-1"}
    assert passed_on({**environment, "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}) == {}


def test_a_ray_of_our_own_is_small_and_needs_no_home(tmp_path: Path) -> None:
    """Its store, where it spills, its token: in a home that cannot be written to."""
    spill = tmp_path / "spill"
    spill.mkdir()
    script = f"""
import json
from pathlib import Path
import numpy, ray
from cluster.session import connect, disconnect
connect(None, num_cpus=1)
kept = [ray.put(numpy.ones(10_000_000)) for _ in range(4)]
spilled = sum(path.stat().st_size for path in Path({str(spill)!r}).rglob("*") if path.is_file())
print(json.dumps([ray.cluster_resources()["object_store_memory"], spilled]))
disconnect()
"""
    cluster = Nodes(tmp_path, {"RAY_ADDRESS": ""})
    result = cluster.python(
        script,
        RAY_AUTH_MODE=None,
        RAY_AUTH_TOKEN=None,
        HOME="/proc",
        LMSERVE_OBJECT_STORE_MEMORY="200MB",
        LMSERVE_SPILL_DIR=str(spill),
    )
    assert result.returncode == 0, result.stderr
    store_bytes, spilled_bytes = json.loads(result.stdout)
    assert store_bytes == 200_000_000
    # Of 320 MB, what has no place in it.
    assert spilled_bytes > 100_000_000


def test_settings_of_our_own_ray_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 75 << 20 <= own_ray_options()["object_store_memory"] <= 1 << 30
    monkeypatch.setenv("LMSERVE_OBJECT_STORE_MEMORY", "10MB")
    with pytest.raises(OptionError, match="Give 75MiB or more"):
        own_ray_options()
    monkeypatch.setenv("LMSERVE_OBJECT_STORE_MEMORY", "100MB")
    monkeypatch.setenv("LMSERVE_SPILL_DIR", os.devnull + "/nowhere")
    with pytest.raises(OptionError, match="cannot write"):
        own_ray_options()
