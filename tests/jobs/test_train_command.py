"""`lmserve train` and what can be done with what it leaves."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora import zipf_text
from programs import output, run
from s3_server import running_s3

from lmserve.remote_folder import RemoteFolder

TINY = ["embedding_size=8", "hidden_size=8", "epochs=2", "batch_size=4", "length=8", "threads=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    lines = zipf_text(240).splitlines(keepends=True)
    (folder / "train.txt").write_text("".join(lines[:200]))
    (folder / "valid.txt").write_text("".join(lines[200:]))
    settings = [part for setting in TINY for part in ("--set", setting)]
    texts = [folder / "train.txt", "--valid", folder / "valid.txt"]
    result = run("train", *texts, "-o", folder / "net", *settings, "--probe-lags", "5")
    assert result.returncode == 0, result.stderr
    assert "perplexities" in result.stderr
    assert "digest" in result.stderr
    return folder


def test_a_network_is_a_model_like_any_other(trained: Path) -> None:
    model, text = trained / "net", trained / "valid.txt"
    evaluated = json.loads(output("eval", model, text, "--json"))
    assert 1 < evaluated["perplexity"] < 200
    manifest = json.loads(output("info", model, "--json"))
    assert len(manifest["epochs"]) == 2
    # Lines carry the state, as the validation does, but in one column instead of four.
    assert evaluated["perplexity"] == pytest.approx(
        min(epoch["valid_perplexity"] for epoch in manifest["epochs"]), rel=0.2
    )
    assert len(manifest["epochs"][-1]["horizons"]) == 2
    scored = [json.loads(line) for line in output("score", model, text).splitlines()]
    assert len(scored) == 40
    assert len(json.loads(output("next", model, "w0", "--top", "3", "--json"))) == 3


def test_it_leaves_a_report_and_a_log(trained: Path) -> None:
    page = (trained / "net" / "report.html").read_text()
    assert "data:image/svg+xml" in page
    assert "gradient" in page.lower()
    lines = (trained / "net" / "steps.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert steps[-1]["done"] == 1
    assert steps[-1]["valid_perplexity"] > 1


def test_a_network_at_a_url_is_the_same(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = [part for setting in TINY for part in ("--set", setting)]
    texts = [trained / "train.txt", "--valid", trained / "valid.txt"]
    with running_s3() as (query, _):
        url = f"s3://bucket/net{query}"
        result = run("train", *texts, "-o", url, *settings, "--temp-dir", tmp_path)
        assert result.returncode == 0, result.stderr
        assert "epoch 2.00" in result.stderr
        assert "pictures: s3://bucket/net/report.html" in result.stderr
        there, here = (json.loads(output("info", net, "--json")) for net in (url, trained / "net"))
        assert there["digest"] == here["digest"]
        assert RemoteFolder(url).exists("report.html")
        assert "exists already" in run("train", *texts, "-o", url, *settings).stderr


def test_the_output_is_not_lost_to_a_second_training(trained: Path) -> None:
    texts = [trained / "train.txt", "--valid", trained / "valid.txt"]
    refused = run("train", *texts, "-o", trained / "net")
    assert refused.returncode == 1
    assert "exists already" in refused.stderr
    resumed = run("train", *texts, "-o", trained / "other", "--resume")
    assert "nothing to resume" in resumed.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "layer=3"], "layers"),
        (["--set", "cell=ltsm"], "ltsm"),
        (["--recipe", "large"], "lstm-small"),
        (["--set", "drop_words=1.5"], "drop_words"),
    ],
)
def test_wrong_options_are_named(trained: Path, options: list[str], told: str) -> None:
    texts = [trained / "train.txt", "--valid", trained / "valid.txt"]
    result = run("train", *texts, "-o", trained / "wrong", *options)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not (trained / "wrong.training").exists()


def test_recipes_are_settings(trained: Path) -> None:
    listed = output("recipes")
    assert "lstm-small" in listed
    config = trained / "recipe.json"
    config.write_text(output("recipes", "--show", "lstm-small"))
    texts = [trained / "train.txt", "--valid", trained / "valid.txt"]
    wrong = run("train", *texts, "-o", trained / "x", "--config", config, "--set", "epochs=0")
    assert "epochs" in wrong.stderr
    assert wrong.returncode == 2


def test_control_c_keeps_what_is_done(trained: Path) -> None:
    settings = [part for setting in [*TINY, "epochs=400"] for part in ("--set", setting)]
    texts = [trained / "train.txt", "--valid", trained / "valid.txt", "-o", trained / "long"]
    command = [sys.executable, "-m", "jobs.cli", "train", *texts, *settings]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*map(str, command), "--checkpoint-every", "0.2"], **options)
    found = trained / "long.training" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(found.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(found.glob("step-*"))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "long.training: --resume goes on" in told
    assert not (trained / "long").exists()
    again = run("train", *texts, *settings, "--checkpoint-every", "0.2")
    assert "there is an unfinished training" in again.stderr
