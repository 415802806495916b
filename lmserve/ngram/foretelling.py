"""What comes after a context: the score of every word of the vocabulary, and the best of them."""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.layout import DESCRIPTOR_COLUMNS, POSITION_BITS, ROW_BITS, START_BIT
from lmserve.ngram.packed import Int64s, Tables, children, read_bits
from lmserve.ngram.stepping import backoff_of, prob_of

Floats = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)
def score_all(tables: Tables, rows: Int64s) -> Floats:
    """log10 P(w | context) of every word, float64 [V], each to the bit what `step` says of it.

    From the unigrams upward: every longer context adds its backoff weight to all words, then puts
    in place what it knows of its own children.

    Args:
        tables: the model.
        rows: int64 [K], of the context, see `step`.
    """
    words = len(tables.log10_prob)
    scores = tables.log10_prob.astype(np.float64)
    ids = np.empty(0, np.int64)
    for j in range(1, len(rows) + 1):
        scores += backoff_of(tables, j, rows[j - 1])
        begin, end = children(tables, j, rows[j - 1])
        levels, level = tables.levels, (j - 1) * DESCRIPTOR_COLUMNS
        child_ids = np.empty(end - begin, np.int64)
        for i in range(end - begin):
            row = begin + i
            at = levels[level + START_BIT] + row * levels[level + ROW_BITS]
            child = read_bits(tables.bits, at, levels[level + POSITION_BITS])
            # In a damaged table a position may point past the list that it counts in.
            if j > 1:
                child = ids[child] if child < len(ids) else np.int64(0)
            child_ids[i] = child if child < words else np.int64(0)
            scores[child_ids[i]] = prob_of(tables, j + 1, row)
        ids = child_ids
    return scores


def best(scores: Floats, top: int) -> npt.NDArray[np.int64]:
    """The indices of the `top` highest scores, the highest first, equal ones by index."""
    if top < len(scores):
        least = np.partition(scores, len(scores) - top)[len(scores) - top]
        candidates = np.flatnonzero(scores >= least)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:top]
