"""What the chart tells Ray Serve, deployed on a real Ray with the environment of the chart's pods.

Kubernetes and KubeRay are missing; the configuration, the variables, the node's label, the token,
the probes, the container of metrics and `helm test` are those of the manifests.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from chart import containers, environment, manifests, pod_templates, the

from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish

# A busy machine needs minutes for Ray and the first request.
pytestmark = pytest.mark.timeout(600)
VALUES = {"serving": {"protection": {"MAX_TEXT_WORDS": 50}, "cpusPerReplica": 0.5, "haproxy": True}}
# The programs of this Python's environment.
BIN = Path(sys.executable).parent


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True)
class Node:
    """A Ray of one node: its ports, and the environment of what runs there."""

    http: int
    dashboard: int
    agent: int
    variables: dict[str, str]

    def port(self, told: int) -> int:
        """The port that stands for one of the manifests."""
        return {8000: self.http, 8265: self.dashboard, 52365: self.agent}[told]


@contextmanager
def _process(
    command: list[str], variables: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs while the block does; it ends with all that it started."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=variables, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    except AssertionError as error:
        error.add_note(log.read_text())
        raise
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until_answered(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    end_s = time.monotonic() + 120
    while _status(url) != 200:
        assert process is None or process.poll() is None, "it ended"
        assert time.monotonic() < end_s, f"{url} is not answered"
        time.sleep(0.5)


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return None


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    gcs, http, dashboard, agent, *pages = _free_ports(6)
    [worker] = [pod for name, pod in pod_templates(manifests(VALUES)) if name.endswith("/serve")]
    told = {name: text for name, text in environment(worker).items() if isinstance(text, str)}
    variables = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        **told,
        "LMSERVE_METRICS_DIR": str(folder / "metrics"),
        # Where it is here; and pages that another service of this machine may have, too.
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(BIN / "lmserve-haproxy"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(pages[0]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(pages[1]),
        # As KubeRay sets them, from the Secret that `authOptions` names.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_ADDRESS": f"127.0.0.1:{gcs}",
    }
    spec = the(manifests(VALUES), "RayService")["spec"]["rayClusterConfig"]
    [label] = spec["workerGroupSpecs"][0]["labels"].items()
    command = [str(BIN / "ray"), "start", "--head", "--block", f"--port={gcs}"]
    command += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += ["--num-cpus=2", f"--labels={'='.join(label)}", "--object-store-memory=100000000"]
    command += ["--node-ip-address=127.0.0.1"]
    found = Node(http, dashboard, agent, variables)
    # Paths of sockets may not be long.
    with (
        tempfile.TemporaryDirectory(prefix="lm-", ignore_cleanup_errors=True) as short,
        _process([*command, f"--temp-dir={short}"], variables, folder / "log") as process,
    ):
        _until_answered(f"http://127.0.0.1:{agent}/api/local_raylet_healthz", process)
        yield found


@pytest.fixture(scope="module")
def deployed(node: Node, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of the service, deployed by what `serveConfigV2` says."""
    folder = tmp_path_factory.mktemp("deployed")
    publish(tiny_model_path, ModelDirectory.at(folder / "models"), name="tiny")
    config = yaml.safe_load(the(manifests(VALUES), "RayService")["spec"]["serveConfigV2"])
    config["http_options"]["port"] = node.http
    config["applications"][0]["args"]["model"] = str(folder / "models")
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    address = f"http://127.0.0.1:{node.dashboard}"
    command = [BIN / "serve", "deploy", "--address", address, folder / "serve.yaml"]
    done = subprocess.run(command, env=node.variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    url = f"http://127.0.0.1:{node.http}"
    _until_answered(f"{url}/readyz")
    return url


@pytest.mark.usefixtures("deployed")
def test_probes_are_answered(node: Node) -> None:
    asked = set()
    for name, pod in pod_templates(manifests(VALUES)):
        if "/" not in name:
            continue
        [ray] = pod["spec"]["containers"]
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = ray[kind]["httpGet"]
            asked.add(
                (
                    probe["path"],
                    _status(f"http://127.0.0.1:{node.port(probe['port'])}{probe['path']}"),
                )
            )
    assert asked == {
        ("/api/local_raylet_healthz", 200),
        ("/api/gcs_healthz", 200),
        ("/-/healthz", 200),
    }


def test_helm_test_passes(node: Node, deployed: str) -> None:
    [box] = the(manifests(VALUES), "Pod")["spec"]["containers"]
    command = [str(BIN / box["command"][0]), *box["command"][1:], *box["args"]]
    variables = {**node.variables, "LMSERVE_URL": deployed}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1000 answers to 1000 sentences")


def test_settings_come_from_the_pods_environment(deployed: str) -> None:
    words = b'{"text": "' + b"w " * 51 + b'"}'
    request = urllib.request.Request(
        f"{deployed}/v1/score", words, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError, match="422"):
        urllib.request.urlopen(request, timeout=30)


@pytest.mark.usefixtures("deployed")
def test_metrics_are_told_by_the_container_beside(node: Node, tmp_path: Path) -> None:
    [worker] = [pod for name, pod in pod_templates(manifests(VALUES)) if name.endswith("/serve")]
    [beside] = [box for box in containers(worker) if box["name"] == "lmserve-metrics"]
    [port] = _free_ports(1)
    command = [str(BIN / beside["command"][0]), *beside["command"][1:]]
    command = [
        {"9465": str(port), "/home/lmserve/.cache": str(tmp_path)}.get(one, one) for one in command
    ]
    with _process(command, node.variables, tmp_path / "log") as process:
        _until_answered(f"http://127.0.0.1:{port}/metrics", process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    assert "\nlmserve_replicas 1.0\n" in text
    assert "\nlmserve_replicas_wanted 1.0\n" in text
