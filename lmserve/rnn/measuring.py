"""The perplexity of a text under a network, the state carried from line to line."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lmserve.rnn.batches import Columns
from lmserve.rnn.network import Network, columns
from lmserve.rnn.workers import Workers

_LENGTH = 200


@torch.no_grad()
def mean_loss(network: Network, text: Columns, workers: Workers) -> float:
    """The mean of -ln P over a text's words.

    Args:
        network: nothing of it is left out.
        text: in columns, each of which begins with a state of zeros.
        workers: that share the columns.
    """
    network.eval()
    part = text.part(workers.rank, workers.size)
    states = columns(network.initial_states(text.batch_size), part)
    total = 0.0
    for start in range(0, len(text), _LENGTH):
        batch = text.batch(start, _LENGTH, part)
        loss, _, states = network(
            batch.words.to(workers.device), batch.targets.to(workers.device), states
        )
        total += loss.item()
    network.train()
    (total,) = workers.sum(total)
    return total / text.tokens


class exchanged:  # noqa: N801 - used as a statement
    """While a `with` block runs, a network has other weights."""

    def __init__(self, network: Network, weights: Mapping[str, Tensor] | None) -> None:
        self._network = network
        self._weights = weights

    def __enter__(self) -> None:
        self._kept = {name: p.detach().clone() for name, p in self._network.named_parameters()}
        self._fill(self._weights or {})

    def __exit__(self, *_: object) -> None:
        self._fill(self._kept)

    @torch.no_grad()
    def _fill(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._network.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])


def perplexity_of(loss: float) -> float:
    """exp(loss), infinite where that is too large for a number."""
    return math.exp(loss) if loss < 700 else math.inf
