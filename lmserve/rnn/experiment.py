"""The lecture's experiment: which cells remember, and what clipping is for.

Networks alike but for their cell, probed at initialisation and after some steps of training; and
one network that is trained twice from the same weights on the same batches, with its gradients as
they are and with them clipped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from lmserve.errors import TrainingError
from lmserve.rnn.batches import Columns, lengths
from lmserve.rnn.config import CellKind, NetworkConfig, TrainingConfig
from lmserve.rnn.corpus import Rows
from lmserve.rnn.measuring import mean_loss, perplexity_of
from lmserve.rnn.network import Network
from lmserve.rnn.optimizing import make_optimizer, rate_at
from lmserve.rnn.probing import LagCurve, probe
from lmserve.rnn.stepping import StepFacts, Stepper
from lmserve.rnn.workers import Workers

CELLS = (CellKind.SIGMOID, CellKind.TANH, CellKind.IRNN, CellKind.LSTM)
# Nothing bounds this cell's state. Begun at the identity, it would in a text without an end add up
# all that it has read, and explode with clipping too.
EXPLODING_CELL, _EXPLODING_SCALE = CellKind.IRNN, 0.5
_EXPLODING_RATE, _EXPLODING_CLIP = 2.0, 0.25
# Of the text, for the perplexities after the training.
_HELD_OUT = 0.1

Listener = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """What is compared.

    Attributes:
        size: numbers of a word's vector, and units of the one layer.
        steps: updates of each network.
        lags: see `probing.probe`.
        windows: see `probing.probe`.
        seed: of all weights.
    """

    size: int = 200
    steps: int = 300
    lags: int = 100
    windows: int = 4
    seed: int = 1

    def network(self, cell: CellKind, identity_scale: float = 1.0) -> NetworkConfig:
        """One layer of a cell."""
        return NetworkConfig(
            cell=cell,
            embedding_size=self.size,
            hidden_size=self.size,
            layers=1,
            identity_scale=identity_scale,
        )

    def exploding_network(self) -> NetworkConfig:
        """One layer whose gradients explode."""
        return self.network(EXPLODING_CELL, _EXPLODING_SCALE)

    def training(self) -> TrainingConfig:
        """Of the cells that are compared."""
        return TrainingConfig(schedule="linear", warmup=10, seed=self.seed)

    def exploding(self, *, clipped: bool) -> TrainingConfig:
        """Of the network whose gradients explode; every finite one is applied."""
        return TrainingConfig(
            optimizer="sgd",
            learning_rate=_EXPLODING_RATE,
            schedule="constant",
            warmup=0,
            clip="norm" if clipped else "none",
            clip_at=_EXPLODING_CLIP,
            explosion=math.inf,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Run:
    """Some steps of a training.

    Attributes:
        facts: of each step; fewer than were asked for, if the training gave up.
        error: why it gave up; None if it did not.
    """

    facts: list[StepFacts]
    error: TrainingError | None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What came out.

    Attributes:
        before: a curve for each cell at initialisation.
        after: likewise, after its training.
        perplexities: of held-out text, after it.
        unclipped: the network whose gradients explode, as they are.
        clipped: the same from the beginning, with its gradients clipped.
    """

    before: dict[CellKind, LagCurve]
    after: dict[CellKind, LagCurve]
    perplexities: dict[CellKind, float]
    unclipped: Run
    clipped: Run


def run_experiment(
    config: ExperimentConfig, rows: Rows, words: int, eos: int, listen: Listener = lambda _: None
) -> Experiment:
    """Runs the whole experiment.

    Args:
        config: what is compared.
        rows: int64 [N], the text; its last tenth is held out.
        words: V.
        eos: the row of a sentence's end.
        listen: told what is done next; `STAGES` times.

    Raises:
        OptionError: the text is too short for the lags.
    """
    split = len(rows) - int(len(rows) * _HELD_OUT)
    train, held_out = rows[:split], rows[split:]
    before: dict[CellKind, LagCurve] = {}
    after: dict[CellKind, LagCurve] = {}
    perplexities: dict[CellKind, float] = {}
    training = config.training()
    valid = Columns(held_out, eos, training.batch_size)
    for cell in CELLS:
        listen(f"{cell}: train and probe")
        network = _begin(config.network(cell), words, config.seed)
        (before[cell],) = probe(network, held_out, lags=config.lags, windows=config.windows)
        train_steps(network, train, eos, training, config.steps)
        (after[cell],) = probe(network, held_out, lags=config.lags, windows=config.windows)
        workers = Workers(0, 1, network.embedding.device)
        perplexities[cell] = perplexity_of(mean_loss(network, valid, workers))
    runs: list[Run] = []
    for clipped in (False, True):
        listen(f"{EXPLODING_CELL}: {'clipped' if clipped else 'not clipped'}")
        network = _begin(config.exploding_network(), words, config.seed)
        exploding = config.exploding(clipped=clipped)
        runs.append(train_steps(network, train, eos, exploding, config.steps))
    return Experiment(
        before=before,
        after=after,
        perplexities=perplexities,
        unclipped=runs[0],
        clipped=runs[1],
    )


STAGES = len(CELLS) + 2


def train_steps(network: Network, rows: Rows, eos: int, config: TrainingConfig, steps: int) -> Run:
    """Trains a network for a number of steps, on the text again and again, and notes every step.

    The updates are those of `training.Trainer`, without its epochs, validations and checkpoints.

    Args:
        network: is changed.
        rows: int64 [N], the text.
        eos: the row of a sentence's end.
        config: of the training, but for its epochs.
        steps: how many.
    """
    workers = Workers(0, 1, network.embedding.device)
    text = Columns(rows, eos, config.batch_size)
    first = network.initial_states(config.batch_size)
    stepper = Stepper(network, make_optimizer(network, config), config, workers, first)
    facts: list[StepFacts] = []
    try:
        for step, (start, length) in zip(range(steps), _batches(text, config), strict=False):
            if start == 0:
                stepper.states = first
            facts.append(
                stepper.step(
                    text.batch(start, length).to(workers.device),
                    tokens=text.targets_in(start, length),
                    rate=rate_at(config, step / steps, step, cuts=0),
                    seed=config.seed + step,
                )
            )
    except TrainingError as error:
        return Run(facts, error)
    return Run(facts, None)


def _batches(text: Columns, config: TrainingConfig) -> Iterator[tuple[int, int]]:
    """Where batches begin and how long they are, epoch after epoch."""
    while True:
        start = 0
        for length in lengths(len(text), config.length):
            yield start, length
            start += length


def _begin(config: NetworkConfig, words: int, seed: int) -> Network:
    torch.manual_seed(seed)
    return Network(config, words)
