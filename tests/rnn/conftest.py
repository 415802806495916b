"""Small networks and texts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from corpora import zipf_text

from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import prepare, publish, train
from lmserve.rnn.scoring import RecurrentModel
from lmserve.rnn.workers import Workers


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A text to train on, and another to measure on."""
    folder = tmp_path_factory.mktemp("texts")
    train_text, valid_text = folder / "train.txt", folder / "valid.txt"
    lines = zipf_text(330).splitlines(keepends=True)
    train_text.write_text("".join(lines[:300]))
    valid_text.write_text("".join(lines[300:]))
    return train_text, valid_text


@pytest.fixture(scope="session")
def recurrent_path(texts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, trained a little."""
    config = RunConfig(
        inputs=(str(texts[0]),),
        valid=(str(texts[1]),),
        output=tmp_path_factory.mktemp("recurrent") / "model",
        network=NetworkConfig(embedding_size=12, hidden_size=16),
        training=TrainingConfig(epochs=2, batch_size=4, length=10, learning_rate=0.01),
    )
    prepare(config)
    train(config, Workers.joined(torch.device("cpu")))
    publish(config)
    return config.output


@pytest.fixture(scope="session")
def recurrent(recurrent_path: Path) -> RecurrentModel:
    """`recurrent_path`, opened."""
    return RecurrentModel.load(recurrent_path)
