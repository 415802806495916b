"""Publishing from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lmserve
from jobs.cli import app
from lmserve.errors import ModelError


def run(*arguments: object) -> tuple[str, str]:
    """What `lmserve ARGUMENTS...` writes to standard output, and says."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout, result.stderr


def test_publish_roll_back_and_list(
    tiny_model_path: Path, other_model_path: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    run("publish", tiny_model_path, "--to", models)
    run("publish", other_model_path, "--to", models, "--name", "tiny", "--version", "second")
    digest = lmserve.load(tiny_model_path).digest
    listed = json.loads(run("models", models, "--json")[0])["models"]
    assert [(model["name"], model["current"]) for model in listed] == [("tiny", "second")]
    versions = {version["version"]: version for version in listed[0]["versions"]}
    assert set(versions) == {"second", digest[:12]}
    assert versions[digest[:12]]["digest"] == digest
    assert [versions[version]["current"] for version in ("second", digest[:12])] == [True, False]
    assert [step["action"] for step in listed[0]["history"]] == ["publish", "publish"]
    run("rollback", models, "tiny")
    table = run("models", models)[0]
    [line] = [line for line in table.splitlines() if "current" in line]
    assert digest[:12] in line
    run("rollback", models, "tiny", "--to", "second")
    assert json.loads(run("models", models, "--json")[0])["models"][0]["current"] == "second"


def test_an_empty_directory_is_listed(tmp_path: Path) -> None:
    assert json.loads(run("models", tmp_path, "--json")[0]) == {"models": []}


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'none'"):
        run("rollback", tmp_path, "none")
