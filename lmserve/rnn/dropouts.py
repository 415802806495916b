"""Leaving things out while training, the same ones for a whole sequence (Gal and Ghahramani 2016).

The third kind, recurrent weights, is in `cells`.
"""

from torch import Tensor
from torch.nn import functional


def lock(inputs: Tensor, probability: float) -> Tensor:
    """Leaves out the same numbers at every step: inputs [T, B, D], one mask [1, B, D]."""
    mask = functional.dropout(inputs.new_ones(1, *inputs.shape[1:]), probability)
    return inputs * mask


def embed(weight: Tensor, words: Tensor, probability: float) -> Tensor:
    """Word vectors, some words left out wherever they occur.

    Args:
        weight: [V, E].
        words: int64, of any shape.
        probability: with which a word is left out.
    """
    vectors = functional.embedding(words, weight)
    if probability == 0:
        return vectors
    keep = functional.dropout(weight.new_ones(len(weight)), probability)
    return vectors * keep[words].unsqueeze(-1)
