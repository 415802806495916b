"""The files for Ray's cluster launcher, as Ray itself reads them before it starts anything."""

import re
import shlex
from typing import Any

import pytest
import yaml
from deployment_files import DEPLOY, check_lmserve, check_ray_start
from ray.autoscaler._private.util import prepare_config, validate_config

FILES = ("onprem.yaml", "aws.yaml")


def read(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return config


def starts(config: dict[str, Any]) -> list[str]:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if " ray start " in command]


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_it(name: str) -> None:
    config = prepare_config(read(name))
    validate_config(config)
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert all(node["max_workers"] >= node.get("min_workers", 0) for node in types.values())


@pytest.mark.parametrize("name", FILES)
def test_a_mistyped_setting_is_refused(name: str) -> None:
    config = read(name)
    config["max_wokers"] = 3
    with pytest.raises(Exception, match="max_wokers"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", FILES)
def test_nodes_start_with_a_token_and_without_reports_to_rays_makers(name: str) -> None:
    config = read(name)
    both = starts(config)
    assert len(both) == 2
    for command in both:
        settings, _, options = command.partition(" ray start ")
        assert "RAY_AUTH_MODE=token" in settings
        assert "RAY_USAGE_STATS_ENABLED=0" in settings
        [path] = re.findall(r"RAY_AUTH_TOKEN_PATH=(\S+)", settings)
        assert path in config["file_mounts"]
        assert f"chmod 600 {path}" in config["setup_commands"]
        check_ray_start(shlex.split(re.sub(r"\$\(.*?\)", "build", options)))


@pytest.mark.parametrize("name", FILES)
def test_each_node_has_its_exporter(name: str) -> None:
    config = read(name)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        [command] = [command for command in config[key] if "lmserve metrics" in command]
        program = command.partition("bin/lmserve ")[2].partition(" >")[0]
        check_lmserve(shlex.split(program))


def test_the_clouds_nodes_have_the_roles_that_jobs_ask_for() -> None:
    types = read("aws.yaml")["available_node_types"].values()
    roles = {node["labels"]["lmserve/role"] for node in types if "labels" in node}
    assert roles == {"build", "train", "serve"}
