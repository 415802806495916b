"""Training: the same however it is stopped, resumed or shared out; explosions are caught."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmserve.errors import CorruptModelError, OptionError, TrainingError
from lmserve.rnn.checkpoints import WEIGHTS_FILE, Epoch, checkpoints, read_progress
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.optimizing import Average, rate_at, stopped_improving
from lmserve.rnn.settings import configure
from lmserve.rnn.step_log import STEPS_FILE, Log
from lmserve.rnn.training import Task, Trainer
from lmserve.rnn.workers import Workers

ALONE = Workers(0, 1, torch.device("cpu"))


class StoppedError(Exception):
    pass


def task(folder: Path, network: dict[str, Any], training: dict[str, Any]) -> Task:
    random = np.random.default_rng(1)
    rows = np.minimum(random.zipf(1.5, 900) - 1, 19)
    return Task(
        network=NetworkConfig(embedding_size=6, hidden_size=8, **network),
        training=TrainingConfig(**({"epochs": 3, "batch_size": 4, "length": 9} | training)),
        words=20,
        eos=0,
        train=rows[:800],
        valid=rows[800:],
        folder=folder,
        # After every look at the clock.
        checkpoint_every=1e-9,
    )


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.network.named_parameters()}


def steps(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / STEPS_FILE).read_text().splitlines()
    return [{**json.loads(line), "tokens_per_s": 0} for line in lines]


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "adamw", "learning_rate": 0.01},
        {"optimizer": "sgd", "learning_rate": 5, "schedule": "plateau", "clip": "value"},
        {"optimizer": "asgd", "learning_rate": 60, "patience": 1, "vary_length": True, "epochs": 6},
    ],
    ids=["adamw", "sgd", "asgd"],
)
def test_a_stopped_training_goes_on_bit_for_bit(training: dict[str, Any], tmp_path: Path) -> None:
    drops = {"drop_words": 0.1, "drop_inputs": 0.2, "drop_outputs": 0.2, "drop_weights": 0.1}
    whole = Trainer(task(tmp_path / "whole", drops, training), ALONE)
    whole.run()
    told = 0

    def stop(_: Log | Epoch) -> None:
        nonlocal told
        told += 1
        if told % 2 == 0:
            raise StoppedError

    for _ in range(50):
        trainer = Trainer(task(tmp_path / "stopped", drops, training), ALONE, stop)
        try:
            trainer.run()
            break
        except StoppedError:
            continue
    assert told > 4
    for name, tensor in weights(trainer).items():
        assert torch.equal(tensor, weights(whole)[name]), name
    for name, tensor in trainer.best.items():
        assert torch.equal(tensor, whole.best[name]), name
    assert steps(tmp_path / "stopped") == steps(tmp_path / "whole")
    without_time = [[replace_time(epoch) for epoch in t.progress.epochs] for t in (trainer, whole)]
    assert without_time[0] == without_time[1]
    if training["optimizer"] == "asgd":
        assert trainer.progress.epochs[-1].averaged


def replace_time(epoch: Epoch) -> Epoch:
    return epoch.model_copy(update={"seconds": 0.0})


def test_it_learns(tmp_path: Path) -> None:
    trainer = Trainer(task(tmp_path, {}, {"learning_rate": 0.02, "epochs": 4}), ALONE)
    progress = trainer.run()
    perplexities = [epoch.valid_perplexity for epoch in progress.epochs]
    assert perplexities[-1] < 0.8 * 20
    assert perplexities[-1] < perplexities[0]
    best = min(perplexities)
    assert best > 1


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    # A rate that ruins what was learned in the end: constant and much too high.
    trainer = Trainer(
        task(tmp_path, {}, {"optimizer": "sgd", "learning_rate": 40, "schedule": "constant"}), ALONE
    )
    progress = trainer.run()
    perplexities = [epoch.valid_perplexity for epoch in progress.epochs]
    same = all(torch.equal(t, trainer.best[name]) for name, t in weights(trainer).items())
    assert same == (perplexities[-1] == min(perplexities))
    assert progress.cuts == sum(
        perplexities[i] >= min(perplexities[:i]) for i in range(1, len(perplexities))
    )


def test_a_compiled_training_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no GPU"):
        Trainer(task(tmp_path, {}, {"compiled": True}), ALONE)


def test_an_explosion_is_skipped_counted_and_in_the_end_an_error(tmp_path: Path) -> None:
    network = {"cell": "irnn", "identity_scale": 3.0, "layers": 1, "tied": False}
    training = {"clip": "none", "optimizer": "sgd", "learning_rate": 1.0, "max_skipped": 4}
    trainer = Trainer(task(tmp_path, network, training | {"explosion": 1e-3}), ALONE)
    before = weights(trainer)
    with pytest.raises(TrainingError, match="exploded 4 steps in a row") as caught:
        trainer.run()
    assert "--clip norm" in caught.value.remedy
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trainer).items())


def test_what_is_no_number_does_not_stay(tmp_path: Path) -> None:
    trainer = Trainer(task(tmp_path, {}, {}), ALONE)
    trainer.stepper.states = tuple(
        tuple(torch.full_like(part, math.nan) for part in state) for state in trainer.stepper.states
    )
    batch = trainer.text.batch(0, 9)
    first = trainer.stepper.step(batch, tokens=36, rate=0.1, seed=1)
    assert not first.applied
    assert math.isnan(first.gradient.norm)
    assert trainer.stepper.skipped_in_a_row == 1
    second = trainer.stepper.step(batch, tokens=36, rate=0.1, seed=1)
    assert second.applied
    assert trainer.stepper.skipped_in_a_row == 0


def test_the_log_tells_of_gradients(tmp_path: Path) -> None:
    told: list[Log] = []
    one = task(tmp_path, {}, {"clip_at": 0.05})
    Trainer(one, ALONE, lambda log: told.append(log) if isinstance(log, Log) else None).run()
    assert told[-1].done == 1
    assert sum(log.clipped > 0 for log in told) > 0
    for log in told:
        assert log.clipped_norm <= 0.05 * 1.0001
        assert log.norm <= log.largest_norm
        assert set(log.groups) == {"embedding", "cells.0", "cells.1", "output"}


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    Trainer(task(tmp_path, {}, {"epochs": 1}), ALONE).run()
    newest = checkpoints(tmp_path)[-1]
    assert read_progress(newest).epoch == 1
    (newest / WEIGHTS_FILE).write_bytes(b"no tensors")
    with pytest.raises(CorruptModelError, match="missing or damaged"):
        Trainer(task(tmp_path, {}, {"epochs": 2}), ALONE)
    (newest / "progress.json").write_text("{}x")
    with pytest.raises(CorruptModelError, match="progress"):
        Trainer(task(tmp_path, {}, {"epochs": 2}), ALONE)


def test_a_checkpoint_of_other_words_is_refused(tmp_path: Path) -> None:
    one = task(tmp_path, {}, {"epochs": 1})
    Trainer(one, ALONE).run()
    with pytest.raises(CorruptModelError, match="of other words"):
        Trainer(replace(one, vocabulary="ab" * 32), ALONE)


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    Trainer(task(tmp_path, {}, {"epochs": 1}), ALONE).run()
    other = task(tmp_path, {"layers": 3}, {"epochs": 2})
    with pytest.raises(CorruptModelError, match="another network"):
        Trainer(other, ALONE)


def test_no_more_checkpoints_are_kept_than_needed(tmp_path: Path) -> None:
    Trainer(task(tmp_path, {}, {}), ALONE).run()
    assert len(checkpoints(tmp_path)) == 2


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", 2.0), ("linear", 1.5), ("cosine", 1.707), ("plateau", 0.125)],
)
def test_rates(schedule: Any, expected: float) -> None:
    config = TrainingConfig(learning_rate=2.0, schedule=schedule, warmup=9)
    assert rate_at(config, 0.25, 500, 2) == pytest.approx(expected, abs=1e-3)
    assert rate_at(config, 0.25, 4, 2) == pytest.approx(expected / 2, abs=1e-3)


def test_averaging_begins_when_improvement_ends() -> None:
    assert not stopped_improving([9, 8, 7, 6], 2)
    assert stopped_improving([9, 8, 7, 7.5, 8.5], 2)
    assert not stopped_improving([9, 8, 7, 7.5, 7.8], 2)
    assert not stopped_improving([9, 8, 9.5], 2)


def test_an_average_is_the_mean_of_what_was_added() -> None:
    layer, average, seen = torch.nn.Linear(3, 2), Average(), []
    for k in range(5):
        torch.manual_seed(k)
        torch.nn.init.normal_(layer.weight)
        seen.append(layer.weight.detach().clone())
        average.add(layer)
    assert average.weights is not None
    torch.testing.assert_close(average.weights["weight"], torch.stack(seen).mean(0))


def test_settings_are_named_in_errors() -> None:
    network, training = configure(
        ["cell=gru", "hidden-size=30", "epochs=2", "rank=none", "clip=none"]
    )
    assert (network.cell, network.hidden_size, network.rank) == ("gru", 30, None)
    assert (training.epochs, training.clip) == (2, "none")
    with pytest.raises(OptionError, match="hiden_size") as caught:
        configure(["hiden_size=3"])
    assert "hidden_size" in caught.value.remedy
    with pytest.raises(OptionError, match="learning_rate"):
        configure(["learning_rate=-1"])
    with pytest.raises(OptionError, match="adaptive"):
        configure(["output=adaptive", "cutoffs=100", "tied=true"])


def test_workers_that_cannot_share_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="batch_size is 4, which 3 workers"):
        Trainer(task(tmp_path, {}, {}), Workers(0, 3, torch.device("cpu")))
