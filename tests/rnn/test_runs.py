"""From text to model folder: nothing is lost, nothing is taken that is not ours."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmserve.errors import InputError, OptionError, TrainingError
from lmserve.rnn.checkpoints import checkpoints
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import check, is_published, locked, prepare, publish, train
from lmserve.rnn.scoring import RecurrentModel
from lmserve.rnn.workers import Workers


def config(texts: tuple[Path, Path], output: Path, **training: Any) -> RunConfig:
    settings = {"epochs": 1, "batch_size": 4, "length": 10} | training
    return RunConfig(
        inputs=(str(texts[0]),),
        valid=(str(texts[1]),),
        output=output,
        network=NetworkConfig(embedding_size=6, hidden_size=6, layers=1),
        training=TrainingConfig.model_validate(settings),
    )


def make(run: RunConfig) -> RecurrentManifest:
    prepare(run)
    if not is_published(run):
        train(run, Workers.joined())
    return publish(run)


def test_a_folder_of_somebody_elses_is_left_alone(texts: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = tmp_path / "wiki.training" / "part.txt"
    corpus.parent.mkdir()
    shutil.copy(texts[0], corpus)
    run = replace(config(texts, tmp_path / "wiki"), inputs=(str(corpus),))
    with pytest.raises(TrainingError, match="no unfinished training; it is not touched"):
        prepare(run)
    assert corpus.read_bytes() == texts[0].read_bytes()


def test_a_refused_text_leaves_nothing(texts: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "marked.txt"
    text.write_text("a <s> b\n")
    with pytest.raises(InputError):
        prepare(replace(config(texts, tmp_path / "out" / "model"), inputs=(str(text),)))
    assert list((tmp_path / "out").iterdir()) == []


def test_settings_that_are_not_finite_can_be_read_again(
    texts: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest = make(config(texts, tmp_path / "model", explosion=float("inf")))
    assert manifest.training.explosion == float("inf")
    assert RecurrentModel.load(tmp_path / "model").score("w0") < 0


def test_a_new_training_begins_anew(texts: tuple[Path, Path], tmp_path: Path) -> None:
    one = make(config(texts, tmp_path / "model"))
    other = make(replace(config(texts, tmp_path / "model", seed=2), overwrite=True))
    assert one.digest != other.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_stop_before_and_after_the_model_is_in_its_place(
    texts: tuple[Path, Path], tmp_path: Path
) -> None:
    expected = make(config(texts, tmp_path / "whole"))
    run = config(texts, tmp_path / "model")
    prepare(run)
    train(run, Workers.joined())
    again = replace(run, resume=True)
    kept = tmp_path / "kept"
    shutil.copytree(run.folder, kept)
    assert make(again).digest == expected.digest
    # As if it had been stopped between the model's move and the end.
    shutil.rmtree(kept / "model")
    kept.rename(run.folder)
    assert is_published(again)
    assert make(again).digest == expected.digest
    assert not run.folder.exists()


def test_what_is_in_the_way_is_named(texts: tuple[Path, Path], tmp_path: Path) -> None:
    run = config(texts, tmp_path / "model")
    prepare(run)
    with pytest.raises(TrainingError, match="there is an unfinished training"):
        check(run)
    with pytest.raises(TrainingError, match="training changed since"):
        check(replace(config(texts, tmp_path / "model", epochs=3), resume=True))
    (run.folder / "run.json").write_text("{")
    with pytest.raises(TrainingError, match="is damaged"):
        check(replace(run, resume=True))
    with pytest.raises(TrainingError, match="nothing to resume"):
        check(replace(config(texts, tmp_path / "other"), resume=True))


def test_what_cannot_be_trained_is_refused_before_anything_is_kept(
    texts: tuple[Path, Path], tmp_path: Path
) -> None:
    run = config(texts, tmp_path / "model")
    with pytest.raises(OptionError, match="lags need"):
        prepare(replace(run, probe_lags=10**6))
    wide = NetworkConfig(hidden_size=64, tied=False, output="adaptive", cutoffs=(10, 10**6))
    with pytest.raises(OptionError, match="the last cluster begins at word 1,000,000"):
        prepare(replace(run, network=wide))
    assert not run.folder.exists()


def test_one_training_at_a_time(texts: tuple[Path, Path], tmp_path: Path) -> None:
    run = config(texts, tmp_path / "model")
    with locked(run), pytest.raises(TrainingError, match="another process"), locked(run):
        pass
    with locked(run):
        pass
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_have_their_name_when_they_are_complete(
    texts: tuple[Path, Path], tmp_path: Path
) -> None:
    run = replace(config(texts, tmp_path / "model"), checkpoint_every=1e-9)
    prepare(run)
    left = run.folder / "checkpoints" / "of-a-worker-that-died.partial"
    left.mkdir(parents=True)
    train(run, Workers.joined())
    assert not left.exists()
    assert len(checkpoints(run.folder / "checkpoints")) == 2
