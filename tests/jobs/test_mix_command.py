"""Mixing from the command line, and what the other commands make of networks and mixtures."""

import json
from pathlib import Path

import pytest
from corpora import zipf_text
from mixable import train_network
from typer.testing import CliRunner

import lmserve
from jobs.cli import app
from lmserve.errors import LmserveError, ModelError, OptionError
from lmserve.scorer import perplexity


def output(*arguments: object) -> str:
    """What `lmserve ARGUMENTS...` writes to standard output, without a process of its own."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def network_path(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_network(tiny_text, tmp_path_factory.mktemp("network") / "network")


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dev") / "dev.txt"
    path.write_text(zipf_text(40, seed=7))
    return path


@pytest.fixture(scope="module")
def mixed_path(tiny_model_path: Path, network_path: Path, dev: Path) -> Path:
    folder = network_path.with_name("mixed")
    shown = output("mix", tiny_model_path, network_path, "--dev", dev, "-o", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for component in manifest["components"]:
        assert f"{component['weight']:.4f}" in shown
        assert f"{component['perplexity']:,.2f}" in shown
    assert f"{manifest['perplexity']:,.2f}" in shown
    return folder


def evaluated(*arguments: object) -> float:
    return float(json.loads(output("eval", *arguments, "--json"))["perplexity"])


def test_a_mixture_is_evaluated_as_it_was_mixed(mixed_path: Path, dev: Path) -> None:
    manifest = json.loads((mixed_path / "manifest.json").read_text())
    assert evaluated(mixed_path, dev) == pytest.approx(manifest["perplexity"], rel=1e-6)
    assert json.loads(output("info", mixed_path, "--json")) == manifest
    facts = output("info", mixed_path)
    assert manifest["digest"] in facts
    assert all(component["digest"] in facts for component in manifest["components"])


def test_a_cache_is_told_and_used(tiny_model_path: Path, dev: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cached"
    shown = output("mix", tiny_model_path, "--dev", dev, "--cache", 50, "-o", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["cache"]["window"] == 50
    assert "cache: 50 words" in shown
    assert "cache: 50 words" in output("info", folder)
    assert evaluated(folder, dev) == pytest.approx(manifest["perplexity"], rel=1e-6)
    fresh = evaluated(folder, dev, "--fresh")
    assert manifest["perplexity"] < fresh < evaluated(tiny_model_path, dev) * 1.01


def test_a_log_linear_mixture_is_told_as_json(
    tiny_model_path: Path, network_path: Path, dev: Path, tmp_path: Path
) -> None:
    arguments = (tiny_model_path, network_path, "--dev", dev, "--method", "log-linear")
    told = output("mix", *arguments, "--output", tmp_path / "mixed", "--json")
    assert json.loads(told) == json.loads((tmp_path / "mixed" / "manifest.json").read_text())
    assert json.loads(told)["method"] == "log-linear"


def test_a_network_reads_on_unless_it_begins_afresh(network_path: Path, dev: Path) -> None:
    model, lines = lmserve.load(network_path), dev.read_bytes().splitlines()
    scores = model.reader().read(lines).log10_prob
    running = perplexity(float(scores.sum()), len(scores))
    texts = model.score_texts(lines)
    fresh = perplexity(float(texts.log10_prob.sum()), int(texts.tokens.sum()))
    assert running != pytest.approx(fresh, rel=1e-6)
    assert evaluated(network_path, dev) == pytest.approx(running, rel=1e-6)
    assert evaluated(network_path, dev, "--fresh") == pytest.approx(fresh, rel=1e-6)


def test_a_network_adapts_to_what_it_reads(
    network_path: Path, tiny_text: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("w7 w1 w9 w2 w8\n" * 60)
    plain = evaluated(network_path, text)
    sgd = ("--dynamic", "--dynamic-rule", "sgd", "--dynamic-rate", 0.5, "--dynamic-length", 5)
    assert evaluated(network_path, text, *sgd) < plain / 1.5
    measured = ("--dynamic", "--dynamic-rate", 0.01, "--dynamic-text", tiny_text)
    assert evaluated(network_path, text, *measured) < plain / 1.05
    assert evaluated(network_path, text, "--cache", "--cache-weight", 0.5) < plain / 1.5


def test_info_tells_what_a_network_is(network_path: Path) -> None:
    manifest = json.loads(output("info", network_path, "--json"))
    assert manifest == json.loads((network_path / "manifest.json").read_text())
    facts = output("info", network_path, "--verify")
    assert f"{manifest['parameters']:,}" in facts
    assert f"{manifest['epochs'][0]['valid_perplexity']:,.2f}" in facts
    assert f"{manifest['digest']} (every byte checked)" in facts


@pytest.mark.parametrize(
    ("arguments", "kind", "problem", "remedy"),
    [
        (
            ["export", "NETWORK", "--arpa", "OUT"],
            ModelError,
            "is a recurrent model, not an n-gram",
            "build",
        ),
        (
            ["quantize", "NETWORK", "-o", "OUT"],
            ModelError,
            "is a recurrent model, not an n-gram",
            "build",
        ),
        (
            ["prune", "MIXED", "--entropy", "1e-6", "-o", "OUT"],
            ModelError,
            "is a mixture of",
            "build",
        ),
        (
            ["eval", "MODEL", "DEV", "--dynamic"],
            OptionError,
            "--dynamic is for recurrent models",
            "train",
        ),
        (
            ["eval", "MIXED", "DEV", "--cache"],
            OptionError,
            "--cache is for recurrent models",
            "train",
        ),
        (
            ["eval", "NETWORK", "DEV", "--cache", "--dynamic"],
            OptionError,
            "--dynamic and --cache",
            "one of",
        ),
        (
            ["eval", "NETWORK", "DEV", "--cache", "--fresh"],
            OptionError,
            "--fresh forgets",
            "Leave out",
        ),
        (
            ["eval", "NETWORK", "DEV", "--dynamic-rate", "1"],
            OptionError,
            "without --dynamic",
            "as well",
        ),
        (
            ["mix", "MODEL", "MIXED", "--dev", "DEV", "-o", "OUT"],
            OptionError,
            "is a mixture itself",
            "Name",
        ),
        (
            ["mix", "MODEL", "--dev", "DEV", "-o", "MODEL"],
            ModelError,
            "exists already",
            "another folder",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    tiny_model_path: Path,
    network_path: Path,
    mixed_path: Path,
    dev: Path,
    tmp_path: Path,
    arguments: list[str],
    kind: type[LmserveError],
    problem: str,
    remedy: str,
) -> None:
    names: dict[str, object] = {
        "MODEL": tiny_model_path,
        "NETWORK": network_path,
        "MIXED": mixed_path,
        "DEV": dev,
        "OUT": tmp_path / "out",
    }
    with pytest.raises(kind) as raised:
        output(*(names.get(argument, argument) for argument in arguments))
    assert problem in raised.value.problem
    assert remedy in raised.value.remedy
    assert not (tmp_path / "out").exists()
