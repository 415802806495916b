"""The lecture's network: h_t = s(W_hh h_(t-1) + W_ih x_t + b) (Elman 1990).

With ReLU and W_hh the identity at first it is the IRNN of Le, Jaitly and Hinton 2015: a state that
is not told otherwise stays, and its gradient is carried back as it is.
"""

import torch
from torch import Tensor, nn

from lmserve.rnn.cells import Cell, State
from lmserve.rnn.elman_sequence import ACTIVATIONS, elman_sequence

# Of the logistic function at 0; of tanh at 0; of ReLU above 0.
_STEEPEST = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0}


class Elman(Cell):
    """A simple recurrent layer.

    Args:
        input_size: D.
        hidden_size: H.
        weight_drop: see `Cell`.
        activation: "sigmoid", "tanh" or "relu".
        identity_scale: W_hh is at first this multiple of the identity; None means at random.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_drop: float = 0.0,
        *,
        activation: str = "tanh",
        identity_scale: float | None = None,
    ) -> None:
        self.activation = activation
        self.identity_scale = identity_scale
        super().__init__(input_size, hidden_size, weight_drop)
        self.steepest = _STEEPEST[activation]

    def reset(self) -> None:
        """Draws new weights."""
        super().reset()
        if self.identity_scale is not None:
            with torch.no_grad():
                nn.init.eye_(self.weight_hh).mul_(self.identity_scale)
                self.bias.zero_()

    def advance(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        activate, _ = ACTIVATIONS[self.activation]
        output = activate(torch.addmm(projected, state[0], weight.T))
        return output, (output,)

    def run(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        outputs = elman_sequence(projected.contiguous(), state[0], weight, self.activation)
        return outputs, (outputs[-1],)
