"""What the chart says of lmserve, of Ray and of the image is so."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import typer
import yaml
from chart import (
    CHART,
    ROOT,
    Manifest,
    clusters,
    containers,
    environment,
    manifests,
    of_kind,
    pod_templates,
    the,
)
from feature_values import ALL_ON, FEATURES
from opentelemetry.sdk import environment_variables
from ray._private import ray_constants
from ray.autoscaler._private import constants as autoscaler_constants
from ray.dashboard import consts as dashboard_constants
from ray.serve._private import constants as serve_constants

from cluster import edge
from cluster.haproxy import BUFFER_BYTES
from cluster.placement import ROLE_LABEL
from cluster.proxying import haproxy_variables
from jobs.cli import app
from lmserve.client.remote import API_KEY_VARIABLE
from lmserve.metrics.sharing import CHOICE_VARIABLE
from lmserve.service.protection_settings import ProtectionSettings, protection_from, variable
from lmserve.service.redis_connection import PASSWORD_FILE_VARIABLE
from lmserve.service.tracing import ENDPOINT_VARIABLE

RAY = Path(ray.__file__).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# Set where something else of the chart depends on it.
NOT_IN_PROTECTION = {"api_keys_file", "drain_s", "log_format"}
REDIS = {"redis": {"enabled": True, "auth": {"generate": True}}}


def all_containers() -> Iterator[Manifest]:
    for name in FEATURES:
        for _, pod in pod_templates(manifests(FEATURES[name])):
            yield from containers(pod)
    for _, pod in pod_templates(manifests(ALL_ON)):
        yield from containers(pod)


def test_versions() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == PYPROJECT["project"]["version"]
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert pins["ray"] == VALUES["rayVersion"]


def test_every_variable_is_one_that_something_reads() -> None:
    """Of lmserve, of Ray, of OpenTelemetry; Redis's own is tested with Redis."""
    known = {
        CHOICE_VARIABLE,
        PASSWORD_FILE_VARIABLE,
        API_KEY_VARIABLE,
        ENDPOINT_VARIABLE,
        edge.VARIABLE,
        environment_variables.OTEL_SERVICE_NAME,
        environment_variables.OTEL_EXPORTER_OTLP_HEADERS,
        # Of `helm test` itself, and of Redis.
        "LMSERVE_URL",
        "REDISCLI_AUTH",
        *map(variable, ProtectionSettings.__dataclass_fields__),
    }
    given = {one["name"] for box in all_containers() for one in box.get("env", [])} - {"A", "H"}
    assert "LMSERVE_URL" in (CHART / "files" / "stream_test.py").read_text()
    of_ray = {name for name in given - known if name.startswith("RAY_")}
    assert given - known == of_ray
    assert len(of_ray) >= 8
    sources = [RAY / "serve/_private/constants.py", RAY / "core/src/ray/gcs/gcs_server"]
    sources += [*RAY.glob("_common/usage/*.py"), *RAY.glob("_private/accelerators/*.py")]
    content = b"".join(path.read_bytes() for path in sources)
    assert {name for name in of_ray if name.encode() not in content} == set()


def test_haproxy_is_told_what_it_is_told_elsewhere(tmp_path: Path) -> None:
    head = next(
        pod for name, pod in pod_templates(manifests(FEATURES["haproxy"])) if "head" in name
    )
    given = {
        name: text
        for name, text in environment(head).items()
        if "HAPROXY" in name or "HA_PROXY" in name
    }
    own = haproxy_variables(tmp_path)
    [script] = [name for name in PYPROJECT["project"]["scripts"] if "haproxy" in name]
    assert given.pop("RAY_SERVE_HAPROXY_BINARY_PATH") == f"/opt/venv/bin/{script}"
    assert given == {name: own[name] for name in given}
    assert int(given["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) == BUFFER_BYTES
    documented = (ROOT / "docs" / "models.md").read_text()
    assert all(f"{name}=" in documented for name in given)


def test_protection_is_what_lmserve_has() -> None:
    schema = (CHART / "values.schema.json").read_text()
    properties = yaml.safe_load(schema)["properties"]["serving"]["properties"]["protection"][
        "properties"
    ]
    names = set(ProtectionSettings.__dataclass_fields__) - NOT_IN_PROTECTION
    assert set(properties) == {name.upper() for name in names}
    values = FEATURES["protection"]["serving"]["protection"]
    assert set(values) == set(properties)
    for name, pod in pod_templates(manifests(FEATURES["protection"])):
        if "/" in name:
            told = protection_from(
                {k: v for k, v in environment(pod).items() if isinstance(v, str)}
            )
            for field in names:
                expected = values[field.upper()]
                expected = tuple(expected) if isinstance(expected, list) else expected
                assert getattr(told, field) == expected, field
            assert told.drain_s == VALUES["serving"]["drainSeconds"]
            assert told.log_format == VALUES["serving"]["logFormat"]


def parse(words: list[str]) -> None:
    """Raises where `lmserve WORDS...` would refuse an option or miss an argument."""
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    with command.make_context(words[0], words[1:]):
        pass


def test_commands_are_entry_points() -> None:
    scripts = PYPROJECT["project"]["scripts"]
    seen = set()
    for box in all_containers():
        command = box.get("command")
        # Ray's own containers and submitters get theirs from KubeRay.
        if command is None or command[0] in ("python", "sh"):
            continue
        assert command[0] in scripts
        parse(command[1:])
        seen.add(command[1])
    assert seen == {"metrics", "verify"}


def test_ports_are_those_that_listen() -> None:
    [metrics] = [one for one in app.registered_commands if one.name == "metrics"]
    assert metrics.callback is not None
    default = metrics.callback.__defaults__ or ()
    expected = {
        "gcs-server": ray_constants.DEFAULT_PORT,
        "dashboard": ray_constants.DEFAULT_DASHBOARD_PORT,
        "as-metrics": autoscaler_constants.AUTOSCALER_METRIC_PORT,
        "dash-metrics": dashboard_constants.DASHBOARD_METRIC_PORT,
        "serve": serve_constants.DEFAULT_HTTP_PORT,
        "lmserve-metrics": default[0],
        # What KubeRay tells Ray; of Ray's client, as `ray start` documents it; Redis's own.
        "metrics": 8080,
        "client": 10001,
        "redis": 6379,
    }
    found: dict[str, set[int]] = {}
    for box in all_containers():
        for port in box.get("ports", []):
            found.setdefault(port["name"], set()).add(port["containerPort"])
    assert found == {name: {port} for name, port in expected.items()}
    assert all(len(name) <= 15 for name in found)


def test_probes_ask_for_what_is_answered_without_a_token() -> None:
    asked = set()
    for box in all_containers():
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = box.get(kind, {})
            # wget and its like are in no image of ours.
            if "exec" in probe:
                assert probe["exec"]["command"][0] == "redis-cli"
            elif probe:
                asked.add((probe["httpGet"]["port"], probe["httpGet"]["path"]))
    agent = ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
    assert asked == {
        (agent, "/api/local_raylet_healthz"),
        (8265, "/api/gcs_healthz"),
        (8000, "/-/healthz"),
        (9465, "/metrics"),
    }
    # Paths that Ray answers to whoever asks.
    for path, file in (
        ("/api/local_raylet_healthz", "dashboard/http_server_agent.py"),
        ("/api/gcs_healthz", "dashboard/http_server_head.py"),
        ("/-/healthz", "serve/_private/proxy_request_response.py"),
        ("/-/healthz", "serve/_private/haproxy.py"),
    ):
        assert f'"{path}"' in (RAY / file).read_text()


def test_roles_are_labels_as_placement_has_them() -> None:
    objects = manifests(FEATURES["job with all"])
    labels = [
        group.get("labels") for _, spec in clusters(objects) for group in spec["workerGroupSpecs"]
    ]
    assert labels == [{ROLE_LABEL: "build"}, {ROLE_LABEL: "serve"}]


def test_the_image_is_as_the_chart_takes_it() -> None:
    """User, paths and name: of the Dockerfile and of the chart."""
    dockerfile = (ROOT / "cluster" / "image" / "Dockerfile").read_text()
    assert "\nUSER 1000:1000\n" in dockerfile
    assert "HOME=/home/lmserve" in dockerfile
    assert "ENTRYPOINT" not in dockerfile
    assert re.search(r"PATH=/opt/venv/bin:", dockerfile)
    context = VALUES["pods"]["securityContext"]
    assert [context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")] == [1000] * 3
    assert VALUES["image"]["repository"] == "lmserve"
    box = the(manifests({}), "RayService")["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    mounts = {one["mountPath"] for one in box["spec"]["containers"][0]["volumeMounts"]}
    assert {"/tmp", "/home/lmserve/.cache"} <= mounts


def test_monitors_name_jobs_that_rules_and_boards_know() -> None:
    asked: set[str] = set()
    for path in (ROOT / "lmserve" / "monitoring" / "rules").glob("*.yml"):
        asked |= set(re.findall(r'job="(\w+)"', path.read_text()))
    assert "lmserve" in asked
    for feature, kind, key in (
        ("pod monitor", "PodMonitor", "podMetricsEndpoints"),
        ("service monitor", "ServiceMonitor", "endpoints"),
    ):
        endpoints = the(manifests(FEATURES[feature]), kind)["spec"][key]
        told = {one["port"]: _replacements(one) for one in endpoints}
        assert {name: labels["job"] for name, labels in told.items()} == {
            "lmserve-metrics": "lmserve",
            "metrics": "ray",
            "as-metrics": "ray",
            "dash-metrics": "ray",
        }
        assert asked <= {labels["job"] for labels in told.values()}
        cluster = "north" if kind == "ServiceMonitor" else "models/lm-lmserve"
        assert {labels["cluster"] for labels in told.values()} == {cluster}


def _replacements(endpoint: Manifest) -> dict[str, Any]:
    return {one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]}


def test_a_service_monitor_finds_what_it_looks_for() -> None:
    objects = manifests(FEATURES["service monitor"])
    spec = the(objects, "ServiceMonitor")["spec"]
    wanted = spec["selector"]["matchLabels"].items()
    services = [
        one for one in of_kind(objects, "Service") if wanted <= one["metadata"]["labels"].items()
    ]
    ports = {port["name"] for one in services for port in one["spec"]["ports"]}
    assert ports == {one["port"] for one in spec["endpoints"]}
    for service in services:
        for port in service["spec"]["ports"]:
            assert port["port"] == port["targetPort"]


def test_rules_and_boards_are_the_files_that_were_tested() -> None:
    monitoring = ROOT / "lmserve" / "monitoring"
    for name, pattern in (("rules", "*.yml"), ("dashboards", "*.json")):
        tested = {path.name: path.read_bytes() for path in (monitoring / name).glob(pattern)}
        found = {path.name: path.read_bytes() for path in (CHART / "files" / name).iterdir()}
        assert tested
        assert found == tested, "run: python helm/monitoring_files.py"
    rules = of_kind(manifests(FEATURES["rules"]), "PrometheusRule")
    told = sorted((one["spec"] for one in rules), key=str)
    files = monitoring.glob("rules/*.yml")
    assert told == sorted((yaml.safe_load(path.read_text()) for path in files), key=str)
    boards = of_kind(manifests(FEATURES["dashboards"]), "ConfigMap")
    content = {name: text for one in boards for name, text in one["data"].items()}
    assert content == {
        f"lmserve-{path.name}": path.read_text().rstrip("\n")
        for path in monitoring.glob("dashboards/*.json")
    }
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in boards)
