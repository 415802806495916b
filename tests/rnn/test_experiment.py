"""The lecture's experiment, small: vanishing, exploding, and what clipping does about it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.gradient_report import gradient_report
from lmserve.rnn.batches import Columns
from lmserve.rnn.config import CellKind, NetworkConfig, TrainingConfig
from lmserve.rnn.corpus import Rows
from lmserve.rnn.experiment import Run, train_steps
from lmserve.rnn.measuring import mean_loss
from lmserve.rnn.network import Network
from lmserve.rnn.report import outcome
from lmserve.rnn.training import Task, Trainer
from lmserve.rnn.workers import Workers

WORDS = 20


def rows(length: int) -> Rows:
    """Words that follow one another in a circle, most of the time."""
    random = np.random.default_rng(5)
    return np.cumsum(random.choice([1, 3], length, p=[0.9, 0.1])) % WORDS


def test_steps_are_those_of_the_trainer(tmp_path: Path) -> None:
    text, network = rows(300), NetworkConfig(embedding_size=8, hidden_size=8, layers=1)
    training = TrainingConfig(epochs=2, batch_size=4, length=10, schedule="linear")
    task = Task(
        network=network,
        training=training,
        words=WORDS,
        eos=0,
        train=text,
        valid=text[:50],
        folder=tmp_path,
    )
    workers = Workers(0, 1, torch.device("cpu"))
    trainer = Trainer(task, workers)
    progress = trainer.run()
    torch.manual_seed(training.seed)
    ours = Network(network, WORDS)
    found = train_steps(ours, text, 0, training, steps=progress.step)
    assert len(found.facts) == progress.step
    valid = Columns(text, 0, 4)
    # The last batch of an epoch is shorter: the trainer's rate falls by words, ours by steps.
    losses = [mean_loss(n, valid, workers) for n in (trainer.network, ours)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_training_that_gives_up_keeps_its_steps() -> None:
    training = TrainingConfig(batch_size=4, length=10, explosion=1e-12, max_skipped=3)
    network = Network(NetworkConfig(embedding_size=8, hidden_size=8, layers=1), WORDS)
    found = train_steps(network, rows(300), 0, training, steps=20)
    assert len(found.facts) == 2
    assert found.error is not None


def test_the_job_runs_the_experiment(texts: tuple[Path, Path], tmp_path: Path) -> None:
    gradient_report(
        [str(texts[0])], tmp_path, experiment=True, lags=8, windows=1, size=48, steps=25
    )
    facts = json.loads((tmp_path / "gradients.json").read_text())
    assert list(facts["before"]) == ["sigmoid", "tanh", "irnn", "lstm"]
    final = {cell: curve["norms"][-1] for cell, curve in facts["before"].items()}
    assert final["sigmoid"] < final["tanh"] < final["lstm"] < final["irnn"]
    assert final["irnn"] == pytest.approx(1, abs=0.01)
    # The same network and text: only one of them is a network still.
    assert facts["unclipped"]["losses"][0] == facts["clipped"]["losses"][0]
    assert max(filter(None, facts["unclipped"]["losses"])) > 1e3
    assert facts["unclipped"]["error"] is not None
    assert facts["clipped"]["error"] is None
    assert facts["clipped"]["losses"][-1] < facts["clipped"]["losses"][0]
    for name in ("gradients.html", "lags.png", "explosion.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_the_outcome_says_what_became_of_the_loss() -> None:
    training = TrainingConfig(batch_size=4, length=10, max_skipped=4)
    network = Network(
        NetworkConfig(cell=CellKind.TANH, embedding_size=8, hidden_size=8, layers=1), WORDS
    )
    good = train_steps(network, rows(300), 0, training, steps=3)
    last = good.facts[-1]
    assert f"{last.loss / last.tokens:.3g} at the end" in outcome("clipped", good)
    with torch.no_grad():
        network.embedding.fill_(math.nan)
    bad = train_steps(network, rows(300), 0, training, steps=9)
    assert bad.error is not None
    told = outcome("not clipped", Run([*good.facts, *bad.facts], bad.error))
    worst = max(fact.loss / fact.tokens for fact in good.facts)
    assert f"{worst:.3g} at its worst; after step 3 no gradient" in told
