"""The image's recipe: what it says is what the code has."""

import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numba
import pytest
from parsed import DOCKERFILE, ROOT, dockerfile
from ray._common.usage import usage_constants
from ray._private import ray_constants

from cluster.image.proof import __main__ as proof
from cluster.proxying import haproxy_variables
from jobs.metrics import metrics
from jobs.serve import serve
from lmserve.metrics.sharing import CHOICE_VARIABLE
from lmserve.publishing.fetching import default_cache

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOME = "/home/lmserve"
PROGRAMS = "/opt/venv/bin"


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout + result.stderr


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text().replace("--no-install-recommends", ""))
    linter = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([linter, bad], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "DL3015" in result.stdout


def test_the_user_is_known_by_number_and_owns_its_cache_only() -> None:
    image = dockerfile()
    assert image.last("USER") == "1000:1000"
    [made] = [run for run in image.values("RUN") if "useradd" in run]
    assert "groupadd --gid 1000 lmserve" in made
    assert "useradd --uid 1000 --gid 1000 --create-home" in made
    assert f"install -d -o lmserve -g lmserve {HOME}/.cache" in made
    assert image.variables["HOME"] == image.last("WORKDIR") == HOME


def test_variables_are_those_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dict(dockerfile().variables)
    monkeypatch.setenv("HOME", variables.pop("HOME"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert variables.pop("PATH").startswith(f"{PROGRAMS}:")
    assert variables.pop("NUMBA_CACHE_DIR").startswith(f"{HOME}/.cache/")
    assert hasattr(numba.config, "CACHE_DIR")
    assert variables.pop("MPLCONFIGDIR").startswith(f"{HOME}/.cache/")
    assert str(default_cache()).startswith(f"{HOME}/.cache/")
    assert variables.pop(CHOICE_VARIABLE).startswith("/tmp/")
    assert variables.pop(usage_constants.USAGE_STATS_ENABLED_ENV_VAR) == "0"
    assert variables.pop("RAY_SERVE_HAPROXY_BINARY_PATH") == f"{PROGRAMS}/lmserve-haproxy"
    assert variables == {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def test_the_proxy_that_is_named_is_the_one_for_which_it_is_asked(tmp_path: Path) -> None:
    assert "RAY_SERVE_HAPROXY_BINARY_PATH" in haproxy_variables(tmp_path)
    [script] = entry_points(group="console_scripts", name="lmserve-haproxy")
    assert script.value == PROJECT["scripts"]["lmserve-haproxy"]


def test_ports_are_those_that_programs_choose() -> None:
    defaults = [inspect.signature(job).parameters["port"].default for job in (serve, metrics)]
    ours = [*defaults, ray_constants.DEFAULT_PORT, ray_constants.DEFAULT_DASHBOARD_PORT]
    ports = [int(port) for port in dockerfile().last("EXPOSE").split()]
    assert ports[:4] == ours == [8000, 9465, 6379, 8265]
    # Those that Ray has no choice of its own for: as the chart and the docs have them.
    assert ports[4:] == [8080, 10001]


def test_commands_are_entry_points_and_nothing_comes_before_them() -> None:
    image = dockerfile()
    assert image.command("CMD")[0] in PROJECT["scripts"]
    assert not image.values("ENTRYPOINT")


def test_the_health_check_is_a_job() -> None:
    python, option, module = dockerfile().command("HEALTHCHECK")
    assert (python, option) == ("python", "-m")
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    command = [sys.executable, option, module, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "8000/readyz" in result.stdout


def test_extras_are_all_but_those_of_developers_and_pytorch() -> None:
    extras = dockerfile().argument("EXTRAS").split(",")
    assert set(extras) == PROJECT["optional-dependencies"].keys() - {"dev", "bench", "rnn"}


def test_labels_tell_of_this_version() -> None:
    labels = dockerfile().labels
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == PROJECT["version"]
    assert labels[f"{prefix}title"] == PROJECT["name"]
    assert labels[f"{prefix}description"] == PROJECT["description"]
    assert labels[f"{prefix}licenses"] == PROJECT["license"]


def test_what_is_built_depends_on_nothing_that_changes_unseen() -> None:
    text = DOCKERFILE.read_text()
    image = dockerfile()
    assert ":latest" not in text
    assert not image.values("ADD")
    assert not re.search(r"(curl|wget)\b[^\n]*\|", text)
    assert not re.search(r"\b(gcc|g\+\+|make|build-essential|python3-dev)\b", text)
    pips = [run for run in image.values("RUN") if re.search(r"pip (install|wheel)", run)]
    assert pips
    assert all("--no-cache-dir" in run for run in pips)
    assert int(image.argument("SOURCE_DATE_EPOCH")) == proof._EPOCH
    assert image.argument("BASE") == proof._BASE


def test_no_secret_is_named_in_it() -> None:
    image = dockerfile()
    names = {value.partition("=")[0] for value in image.values("ARG")} | image.variables.keys()
    assert not [name for name in names if re.search("TOKEN|PASSWORD|SECRET|KEY", name)]
