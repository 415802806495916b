"""Publishing from the command line."""

import json
from pathlib import Path

import pytest
from mixable import train_network
from typer.testing import CliRunner

import lmserve
from jobs.cli import app
from lmserve.errors import ModelError, OptionError
from lmserve.mixing.making import MixConfig, mix


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


def test_a_heldout_text_is_measured_as_services_score_it(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    text, models = tmp_path / "text", tmp_path / "models"
    text.write_text("w0 w1 w2\nw3\n\nnew w1\n")
    run("publish", tiny_model_path, "--to", models, "--heldout", text)
    version = json.loads(run("models", models, "--json")[0])["models"][0]["versions"][0]
    scores = lmserve.load(tiny_model_path).score_texts(text.read_bytes().splitlines())
    expected = 10 ** (-scores.log10_prob.sum() / scores.tokens.sum())
    assert version["heldout_perplexity"] == pytest.approx(expected)
    assert f"{expected:,.2f}" in run("models", models)[0]


def test_a_heldout_perplexity_is_taken_down_and_mended(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    def told() -> float | None:
        [model] = json.loads(run("models", models, "--json")[0])["models"]
        value: float | None = model["versions"][0]["heldout_perplexity"]
        return value

    models = tmp_path / "models"
    run("publish", tiny_model_path, "--to", models)
    assert told() is None
    run("publish", tiny_model_path, "--to", models, "--heldout-perplexity", 99.5)
    assert told() == 99.5
    # Of the same model again, without one: what was known stays.
    run("publish", tiny_model_path, "--to", models)
    assert told() == 99.5
    for value in (0.5, "nan", "inf"):
        with pytest.raises(OptionError, match="the held-out perplexity is"):
            run("publish", tiny_model_path, "--to", models, "--heldout-perplexity", value)
    with pytest.raises(OptionError, match="both given"):
        run(
            *("publish", tiny_model_path, "--to", models),
            *("--heldout", tmp_path, "--heldout-perplexity", 2),
        )


def test_networks_and_mixtures_tell_their_own(
    tiny_text: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    network = train_network(tiny_text, tmp_path / "network")
    parts = (tiny_model_path, network)
    mix(MixConfig(models=parts, dev=(str(tiny_text),), output=tmp_path / "mixed"))
    for name in ("network", "mixed"):
        run("publish", tmp_path / name, "--to", tmp_path / "models")
    listed = json.loads(run("models", tmp_path / "models", "--json")[0])["models"]
    told = {model["name"]: model["versions"][0]["heldout_perplexity"] for model in listed}
    epochs = json.loads((network / "manifest.json").read_text())["epochs"]
    assert told["network"] == min(epoch["valid_perplexity"] for epoch in epochs)
    assert told["mixed"] == json.loads((tmp_path / "mixed/manifest.json").read_text())["perplexity"]


def test_an_empty_directory_is_listed(tmp_path: Path) -> None:
    assert json.loads(run("models", tmp_path, "--json")[0]) == {"models": []}


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'none'"):
        run("rollback", tmp_path, "none")
