"""The compose file: against compose's own schema, and its commands against the code."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from importlib import resources
from pathlib import Path
from typing import Any

import check_jsonschema.builtin_schemas
import jsonschema
import pytest
import yaml
from deployment_files import DEPLOY, check_lmserve, check_ray_start, check_serve
from ports import free_ports
from programs import program, run

import lmserve
from cluster.service_arguments import ServiceArguments
from lmserve.metrics.sharing import CHOICE_VARIABLE
from lmserve.service.redis_connection import PASSWORD_FILE_VARIABLE

PASSWORD = "hunter2"
CHECKS = {"ray": check_ray_start, "lmserve": check_lmserve, "serve": check_serve}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    services = compose["services"].items()
    return {name: one for name, one in services if one["image"].startswith("lmserve:")}


def interpolated(value: str) -> str:
    """As compose does with `$$`."""
    return value.replace("$$", "$")


def test_it_is_a_compose_file(compose: dict[str, Any]) -> None:
    folder = resources.files(check_jsonschema.builtin_schemas)
    schema = json.loads((folder / "vendor" / "compose-spec.json").read_text())
    jsonschema.validate(compose, schema)
    compose = {**compose, "services": {"head": {"comand": ["ray"]}}}
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.validate(compose, schema)


def test_its_commands_exist(compose: dict[str, Any]) -> None:
    checked = set()
    for service in ours(compose).values():
        name, *arguments = service["command"]
        if name == "ray":
            assert arguments.pop(0) == "start"
        CHECKS[name](arguments)
        checked.add(name)
    assert checked == set(CHECKS)


def test_its_image_is_of_this_version(compose: dict[str, Any]) -> None:
    for service in ours(compose).values():
        assert service["image"] == f"lmserve:${{LMSERVE_VERSION:-{lmserve.__version__}}}"


def test_nothing_is_more_open_than_it_must_be(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service["user"].startswith("0"), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        for mount in service.get("volumes", ()):
            assert not mount.startswith("/"), name
        if name not in ("serve", "monitor"):
            assert name == "metrics" or "healthcheck" in service, name


def test_secrets_come_from_files(compose: dict[str, Any]) -> None:
    for name, secret in compose["secrets"].items():
        assert secret == {"file": f"${{LMSERVE_SECRETS:-./secrets}}/{name}"}
    for name, service in compose["services"].items():
        environment = service.get("environment", {})
        for variable, value in environment.items():
            if re.search("PASSWORD|TOKEN", variable):
                assert value.startswith("/run/secrets/"), (name, variable)
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_its_variables_are_those_of_the_code(compose: dict[str, Any]) -> None:
    known = {CHOICE_VARIABLE, PASSWORD_FILE_VARIABLE}
    for service in ours(compose).values():
        given = {name for name in service.get("environment", {}) if name.startswith("LMSERVE_")}
        assert given <= known


def test_what_it_serves_can_be_read() -> None:
    config = yaml.safe_load((DEPLOY / "compose" / "serve.yaml").read_text())
    [application] = config["applications"]
    arguments = ServiceArguments.model_validate(application["args"])
    assert arguments.redis_url == "redis://redis:6379/0"


def test_its_redis_asks_for_the_password_and_shows_it_to_nobody(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    program("redis-server", "redis-server")
    [port] = free_ports(1)
    secret = tmp_path / "redis-password"
    secret.write_text(PASSWORD)
    service = compose["services"]["redis"]

    def adapted(text: str) -> str:
        text = interpolated(text).replace("/run/secrets/redis-password", str(secret))
        return text.replace("redis-server -", f"redis-server - --port {port}").replace(
            "redis-cli", f"redis-cli -p {port}"
        )

    command = [adapted(part) for part in service["command"]]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        healthy = ["sh", "-c", adapted(service["healthcheck"]["test"][1])]
        deadline_s = time.monotonic() + 30
        while subprocess.run(healthy, capture_output=True).returncode:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        ask = ["redis-cli", "-p", str(port), "config", "get", "maxmemory-policy"]
        assert "NOAUTH" in subprocess.run(ask, capture_output=True, text=True).stdout
        answer = subprocess.run(
            ask, capture_output=True, text=True, env=os.environ | {"REDISCLI_AUTH": PASSWORD}
        )
        assert "allkeys-lru" in answer.stdout
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert PASSWORD.encode() not in shown
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_its_monitor_writes_what_prometheus_and_grafana_are_told_to_read(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    services = compose["services"]
    folder = "/home/lmserve/monitoring"
    arguments = [part.replace(folder, str(tmp_path)) for part in services["monitor"]["command"]]
    assert run(*arguments[1:]).returncode == 0
    for path in (
        services["prometheus"]["command"][0].partition("=")[2],
        services["grafana"]["environment"]["GF_PATHS_PROVISIONING"],
    ):
        assert Path(path.replace(folder, str(tmp_path))).exists()
    source = tmp_path / "grafana" / "provisioning" / "datasources" / "lmserve.yml"
    assert yaml.safe_load(source.read_text())["datasources"][0]["url"] == "http://prometheus:9090"
    targets = json.loads((tmp_path / "nodes.json").read_text())[0]["targets"]
    assert targets == ["metrics:9465"]
    metrics = services["metrics"]["command"]
    assert metrics[metrics.index("--port") + 1] == "9465"
    assert shlex.join(services["head"]["command"]).count("--metrics-export-port=8080") == 1
