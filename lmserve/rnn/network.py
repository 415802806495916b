"""A recurrent language model: word vectors, layers, and the probabilities of the next word."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmserve.rnn.cells import Cell, State
from lmserve.rnn.config import CellKind, NetworkConfig
from lmserve.rnn.dropouts import embed, lock
from lmserve.rnn.elman import Elman
from lmserve.rnn.gated import GRU, LSTM
from lmserve.rnn.linear import MinGRU
from lmserve.rnn.mogrifier import MogrifierLSTM
from lmserve.rnn.outputs import AdaptiveSoftmax, FullSoftmax, MixtureOfSoftmaxes, Output

# Of all layers, the first one first.
States = tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Activity:
    """What the last layer put out.

    Attributes:
        kept: [T, B, E], some numbers left out, as probabilities are computed from them.
        whole: [T, B, E], before that.
    """

    kept: Tensor
    whole: Tensor


class Network(nn.Module):
    """A recurrent language model over V words.

    Memory grows with V and with the layers' sizes, never with the length of a text.

    Args:
        config: everything about it but V.
        words: V. Words are numbered by falling frequency.
    """

    def __init__(self, config: NetworkConfig, words: int) -> None:
        super().__init__()
        self.config = config
        self.words = words
        self.embedding = nn.Parameter(torch.empty(words, config.embedding_size).uniform_(-0.1, 0.1))
        self.cells = nn.ModuleList(
            _cell(config, inputs, outputs) for inputs, outputs in config.layer_sizes()
        )
        self.output = self._output()

    def _output(self) -> Output:
        config = self.config
        _, size = config.layer_sizes()[-1]
        if config.output == "adaptive":
            return AdaptiveSoftmax(size, self.words, config.cutoffs)
        weight = self.embedding
        if not config.tied:
            weight = nn.Parameter(torch.empty(self.words, size).uniform_(-0.1, 0.1))
        if config.output == "mixture":
            return MixtureOfSoftmaxes(weight, config.experts)
        return FullSoftmax(weight)

    @property
    def layers(self) -> list[Cell]:
        """The recurrent layers, the first one first."""
        return [cell for cell in self.cells if isinstance(cell, Cell)]

    def initial_states(self, batch: int) -> States:
        """The states before any word, of so many texts."""
        return tuple(cell.initial_state(batch) for cell in self.layers)

    def activity(self, words: Tensor, states: States) -> tuple[Activity, States]:
        """Runs all layers over a sequence.

        Args:
            words: int64 [T, B], the words that are seen.
            states: before the first.
        """
        config, training = self.config, self.training
        hidden = embed(self.embedding, words, config.drop_words if training else 0.0)
        if training:
            hidden = lock(hidden, config.drop_inputs)
        after: list[State] = []
        for number, (cell, state) in enumerate(zip(self.layers, states, strict=True), 1):
            whole, state = cell.sequence(hidden, state)
            after.append(state)
            last = number == config.layers
            drop = config.drop_outputs if last else config.drop_hidden
            hidden = lock(whole, drop) if training and drop > 0 else whole
        return Activity(kept=hidden, whole=whole), tuple(after)

    def forward(
        self, words: Tensor, targets: Tensor, states: States
    ) -> tuple[Tensor, Activity, States]:
        """The loss of a sequence.

        Args:
            words: int64 [T, B], the words that are seen.
            targets: int64 [T, B], the words to be predicted, `IGNORED` for none.
            states: before the first.

        Returns:
            The sum of -ln P(target); what the last layer put out; the states after the last.
        """
        activity, states = self.activity(words, states)
        loss = self.output.loss(activity.kept.flatten(0, 1), targets.flatten())
        return loss, activity, states

    def step(self, words: Tensor, states: States) -> tuple[Tensor, States]:
        """One word of each text.

        Args:
            words: int64 [B].
            states: before it.

        Returns:
            The last layer's output [B, E], and the states after it.
        """
        hidden = self.embedding[words]
        after: list[State] = []
        for cell, state in zip(self.layers, states, strict=True):
            hidden, state = cell.step(hidden, state)
            after.append(state)
        return hidden, tuple(after)


def detached(states: States) -> States:
    """The same numbers, cut off from what they were computed from: where gradients end."""
    return tuple(tuple(part.detach() for part in state) for state in states)


def columns(states: States, part: slice | Sequence[int]) -> States:
    """The states of some of the texts."""
    return tuple(tuple(tensor[part] for tensor in state) for state in states)


def _cell(config: NetworkConfig, inputs: int, outputs: int) -> Cell:
    drop = config.drop_weights
    match config.cell:
        case CellKind.LSTM:
            return LSTM(inputs, outputs, drop)
        case CellKind.GRU:
            return GRU(inputs, outputs, drop)
        case CellKind.MINGRU:
            return MinGRU(inputs, outputs, drop)
        case CellKind.MOGRIFIER:
            return MogrifierLSTM(inputs, outputs, drop, rounds=config.rounds, rank=config.rank)
        case CellKind.IRNN:
            scale = config.identity_scale
            return Elman(inputs, outputs, drop, activation="relu", identity_scale=scale)
        case CellKind.SIGMOID | CellKind.TANH:
            return Elman(inputs, outputs, drop, activation=config.cell.value)
