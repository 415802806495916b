"""An LSTM whose input and state gate one another before they meet (Melis et al. 2020)."""

import math

import torch
from torch import Tensor, nn

from lmserve.rnn.cells import State
from lmserve.rnn.gated import LSTM


class MogrifierLSTM(LSTM):
    """x = 2 sigmoid(Q h) x and h = 2 sigmoid(R x) h in turns, then an LSTM.

    Args:
        input_size: D.
        hidden_size: H.
        weight_drop: see `Cell`.
        rounds: gatings, x first; 0 is an LSTM.
        rank: of Q and R, which are products of two matrices; None means of full rank.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_drop: float = 0.0,
        *,
        rounds: int = 5,
        rank: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, weight_drop)
        sizes = [(hidden_size, input_size), (input_size, hidden_size)]
        self.mutual = nn.ModuleList(_gate(*sizes[i % 2], rank) for i in range(rounds))

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs themselves: what they add depends on the state."""
        return inputs

    def sequence(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Cell`."""
        weight = self.recurrent_weight()
        outputs: list[Tensor] = []
        for now in inputs:
            output, state = self.advance(now, state, weight)
            outputs.append(output)
        return torch.stack(outputs), state

    def advance(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        inputs, (hidden, cell) = projected, state
        for i, gate in enumerate(self.mutual):
            if i % 2 == 0:
                inputs = 2 * torch.sigmoid(gate(hidden)) * inputs
            else:
                hidden = 2 * torch.sigmoid(gate(inputs)) * hidden
        return super().advance(super().project(inputs), (hidden, cell), weight)


def _gate(input_size: int, output_size: int, rank: int | None) -> nn.Module:
    if rank is None:
        return _linear(input_size, output_size, bias=True)
    return nn.Sequential(
        _linear(input_size, rank, bias=False), _linear(rank, output_size, bias=True)
    )


def _linear(input_size: int, output_size: int, *, bias: bool) -> nn.Linear:
    linear = nn.Linear(input_size, output_size, bias=bias)
    bound = 1 / math.sqrt(input_size)
    nn.init.uniform_(linear.weight, -bound, bound)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
