"""A cell that trains in parallel over time: minGRU (Feng et al. 2024).

    z_t = sigmoid(W_z x_t), n_t = W_n x_t, h_t = (1 - z_t) h_(t-1) + z_t n_t

Neither gate looks at the state, so that h_t is a linear recurrence, and all of a sequence's states
come from ceil(log2 T) vector operations instead of T steps, one after the other.
"""

import torch
from torch import Tensor

from lmserve.rnn.cells import Cell, State


class MinGRU(Cell):
    """A gated linear recurrence.

    It has no recurrent weight: `weight_hh` is empty, and weights are not left out.
    """

    gates = 2

    def __init__(self, input_size: int, hidden_size: int, weight_drop: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, weight_drop)
        # No parameter: workers would wait for its gradient.
        del self.weight_hh
        self.register_buffer("weight_hh", torch.empty(0, hidden_size), persistent=False)

    def advance(self, projected: Tensor, state: State, _: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        z, n = projected.chunk(2, 1)
        hidden = torch.lerp(state[0], n, torch.sigmoid(z))
        return hidden, (hidden,)

    def run(self, projected: Tensor, state: State, _: Tensor) -> tuple[Tensor, State]:
        """See `Cell`."""
        z, n = projected.chunk(2, 2)
        z = torch.sigmoid(z)
        added = z * n
        added = torch.cat((torch.addcmul(added[:1], 1 - z[:1], state[0]), added[1:]))
        outputs = scan(1 - z, added)
        return outputs, (outputs[-1],)


def scan(kept: Tensor, added: Tensor) -> Tensor:
    """h_t = kept_t h_(t-1) + added_t for all t at once, h_(-1) = 0.

    Doubling (Hillis and Steele 1986): after round d, a place holds what its last 2^d steps make of
    the state before them.

    Args:
        kept: [T, ...].
        added: [T, ...].
    """
    reach = 1
    while reach < len(added):
        added = torch.cat(
            (added[:reach], torch.addcmul(added[reach:], kept[reach:], added[:-reach]))
        )
        kept = torch.cat((kept[:reach], kept[reach:] * kept[:-reach]))
        reach *= 2
    return added
