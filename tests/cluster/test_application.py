"""The service as `serve deploy` and KubeRay deploy it, on a Ray that was started by hand."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from nodes import PROGRAMS, Nodes, nodes
from ports import free_ports
from pydantic import ValidationError
from steady_load import Load, wait_for

import lmserve
from cluster import edge
from cluster.proxying import haproxy_variables
from cluster.serve_config import ServeConfig
from cluster.service_arguments import ServiceArguments
from lmserve.errors import OptionError
from lmserve.metrics import membership
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish

SAMPLE = Path(__file__).parent.parent.parent / "cluster" / "deploy" / "serve.yaml"


@dataclass
class Deployed:
    cluster: Nodes
    port: int
    metrics: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deploy(self, model: str) -> None:
        """Applies the sample for this model, on a port of this test's."""
        config = yaml.safe_load(SAMPLE.read_text())
        config["http_options"] = {"host": "127.0.0.1", "port": self.port}
        [application] = config["applications"]
        application["args"]["model"] = model
        [deployment] = application["deployments"]
        deployment["ray_actor_options"] = {
            "num_cpus": 0.5,
            "label_selector": {"lmserve/role": "serve"},
        }
        path = self.cluster.folder / "serve.yaml"
        path.write_text(yaml.safe_dump(config))
        address = ("--address", self.cluster.dashboard)
        result = self.cluster.run(str(PROGRAMS / "serve"), "deploy", *address, str(path))
        assert result.returncode == 0, result.stdout + result.stderr

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def metric(self, name: str) -> str | None:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next((line.split()[-1] for line in lines if line.startswith(name + " ")), None)


@pytest.fixture(scope="module")
def deployed(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder, stack = tmp_path_factory.mktemp("deployed"), ExitStack()
    # Sockets lie in HAProxy's folder, whose names are limited.
    proxy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lm-")))
    environment = {
        **haproxy_variables(proxy),
        edge.VARIABLE: edge.IMPORT_PATH,
        "LMSERVE_METRICS_DIR": str(folder / "metrics"),
        "LMSERVE_MAX_TEXT_WORDS": "20",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    with stack, nodes(**environment) as cluster:
        cluster.start_head("--num-cpus=2", "--labels=lmserve/role=serve")
        deployed = Deployed(cluster, free_ports(1)[0], folder / "metrics")
        deployed.deploy(str(tiny_model_path))
        wait_for(deployed.ready, 120)
        yield deployed


def test_the_sample_serves(deployed: Deployed, tiny_model: lmserve.NgramModel) -> None:
    answer = httpx.post(f"{deployed.url}/v1/score", json={"text": "w0 w1"})
    assert answer.json()["model"] == tiny_model.digest
    # Of the node's environment, not of whoever deploys.
    refused = httpx.post(f"{deployed.url}/v1/score", json={"text": "w0 " * 21})
    assert refused.status_code == 422
    # Counted in the node's folder.
    wait_for(lambda: deployed.metric("lmserve_replicas") == "2.0", 60)
    assert deployed.metric("lmserve_replicas_wanted") == "2.0"
    living = membership.living(deployed.metrics).values()
    assert [process.role for process in living] == ["replica", "replica"]


def test_another_model_takes_over_without_a_failed_request(
    deployed: Deployed, other_model_path: Path, tiny_model: lmserve.NgramModel, tmp_path: Path
) -> None:
    """By its URL: the node fetches it and compares digests before it serves."""
    url = f"file://{tmp_path}/models"
    publish(other_model_path, ModelDirectory.at(url), name="other", version="1")
    other = lmserve.load(other_model_path).digest
    with Load(deployed.url) as load:
        wait_for(lambda: load.answers() >= 50, 60)
        assert set(load.digests) == {tiny_model.digest}
        deployed.deploy(url)
        wait_for(lambda: set(load.digests[-200:]) == {other}, 200)
    assert load.failures == []
    [fetched] = (deployed.metrics.parent / "cache" / "lmserve" / "models" / "other").glob("1-*")
    assert lmserve.load(fetched).digest == other


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "models"}, "the model 'models' is relative"),
        ({"model": "s3://me:hunter2@bucket/models"}, "has a password in it"),
        ({"model": "/m", "redis_url": "redis://:hunter2@host"}, "has a password in it"),
        ({"model": "/m", "api_keys": "keys.json"}, "'keys.json' is relative"),
        ({"model": "/m", "poll_s": 0}, "greater than 0"),
        ({"model": "/m", "modle_cache": "/c"}, "Extra inputs are not permitted"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ServiceArguments.model_validate(given)
    assert message in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_command_line_refuses_them_as_its_own() -> None:
    with pytest.raises(OptionError, match="has a password in it") as refused:
        ServeConfig(model="s3://me:hunter2@bucket/models")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(OptionError, match=r"poll_s: .*greater than 0"):
        ServeConfig(model="/m", poll_s=0)


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSERVE_API_KEYS_FILE", "/etc/keys.json")
    monkeypatch.setenv("LMSERVE_LOG_FORMAT", "json")
    monkeypatch.setenv("LMSERVE_MAX_QUEUED", "7")
    told = ServiceArguments(model="/m").protection
    assert (told.api_keys_file, told.log_format, told.max_queued) == ("/etc/keys.json", "json", 7)
    told = ServiceArguments(model="/m", api_keys=Path("/k"), log_format="none").protection
    assert (told.api_keys_file, told.log_format) == ("/k", "none")
