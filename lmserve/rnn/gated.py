"""Cells with gates: LSTM and GRU.

Sequences run in torch's own kernels, cuDNN's on a GPU and oneDNN's on a CPU. (Steps written out
with their gradients, as for the simple cell, were measured at 0.6 of their speed.)
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lmserve.rnn.cells import Cell, State

_ONE_LAYER: dict[str, Any] = {
    "has_biases": True,
    "num_layers": 1,
    "dropout": 0.0,
    "bidirectional": False,
    "batch_first": False,
}


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997); the state is (h, c).

    i, f, o = sigmoid and g = tanh of the rows of W_ih x_t + b + W_hh h_(t-1), in the order i, f, g,
    o; c_t = f c_(t-1) + i g, h_t = o tanh(c_t).
    """

    gates = 4
    states = 2

    def reset(self) -> None:
        """Draws new weights; the forget gate is open at first (Gers et al. 2000)."""
        super().reset()
        with torch.no_grad():
            self.bias[self.hidden_size : 2 * self.hidden_size].fill_(1.0)

    def advance(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        hidden, cell = state
        i, f, g, o = torch.addmm(projected, hidden, weight.T).chunk(4, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        return hidden, (hidden, cell)

    def sequence(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Cell`."""
        weights = [self.weight_ih, self.recurrent_weight(), self.bias, torch.zeros_like(self.bias)]
        outputs, hidden, cell = torch.lstm(
            inputs,
            [part.unsqueeze(0) for part in state],
            weights,
            train=torch.is_grad_enabled(),
            **_ONE_LAYER,
        )
        return outputs, (hidden[0], cell[0])


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), the reset gate applied after the product.

    r, z = sigmoid of the rows of W_ih x_t + b + W_hh h_(t-1), n = tanh(W_n x_t + b_n +
    r (U_n h_(t-1) + u)), h_t = (1 - z) n + z h_(t-1).
    """

    gates = 3

    def __init__(self, input_size: int, hidden_size: int, weight_drop: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, weight_drop)
        bound = 1 / math.sqrt(hidden_size)
        self.candidate_bias = nn.Parameter(torch.empty(hidden_size).uniform_(-bound, bound))

    def advance(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        (hidden,) = state
        (r, z, n), (reset, update, candidate) = (
            part.chunk(3, 1) for part in (projected, hidden @ weight.T)
        )
        z = torch.sigmoid(z + update)
        n = torch.tanh(n + torch.sigmoid(r + reset) * (candidate + self.candidate_bias))
        hidden = torch.lerp(n, hidden, z)
        return hidden, (hidden,)

    def sequence(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Cell`."""
        second_bias = torch.cat((self.bias.new_zeros(2 * self.hidden_size), self.candidate_bias))
        outputs, hidden = torch.gru(
            inputs,
            state[0].unsqueeze(0),
            [self.weight_ih, self.recurrent_weight(), self.bias, second_bias],
            train=torch.is_grad_enabled(),
            **_ONE_LAYER,
        )
        return outputs, (hidden[0],)
