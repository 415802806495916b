"""A small network over the words of the tests' n-gram model."""

from pathlib import Path

import torch

from lmserve.ngram.limiting import VocabularyLimit
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import prepare, publish, train
from lmserve.rnn.workers import Workers

# More words than there are: all of them stay, also those that occur once.
EVERY_WORD = VocabularyLimit(1_000_000)


def train_network(
    text: Path, output: Path, *, limit: VocabularyLimit = EVERY_WORD, seed: int = 1
) -> Path:
    """Trains a network a little; returns its folder."""
    config = RunConfig(
        inputs=(str(text),),
        valid=(str(text),),
        output=output,
        vocabulary=limit,
        network=NetworkConfig(embedding_size=12, hidden_size=16, layers=1),
        training=TrainingConfig(epochs=1, batch_size=8, length=20, seed=seed, threads=1),
    )
    prepare(config)
    train(config, Workers.joined(torch.device("cpu")))
    publish(config)
    return config.output
