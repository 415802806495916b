"""What it costs to leave n-grams out of a back-off model, and the weights without them.

Stolcke, "Entropy-based pruning of backoff language models", Proceedings of the DARPA Broadcast News
Transcription and Understanding Workshop, 1998; cited below by its section. With c a context, c' the
context without its first word, x all words stored after c:

    left(c)  = 1 - sum p(x|c)        what the words not stored after c have of p(.|c)
    lower(c) = 1 - sum p(x|c')       what they have of p(.|c')
    g(c)     = left(c) / lower(c)    the backoff weight

Every n-gram's suffix is stored, too, so that p(x|c') stands in its row, and does not change where
n-grams are left out.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


class Lists(NamedTuple):
    """The n-grams of level k + 1 in the lists of their contexts, R rows of level k.

    Attributes:
        first_child: int64 [R + 1], where each context's list begins, and the end of the last.
        probs: float64 [C], p(w|c) of every n-gram.
        suffixes: int64 [C], the row in level k of every n-gram without its first word.
        lower_probs: float64 [R], probabilities of level k: p(w|c') is lower_probs[suffix].
    """

    first_child: Int64s
    probs: Float64s
    suffixes: Int64s
    lower_probs: Float64s


@borrowing
def left_over(lists: Lists, context: int, kept: Bools) -> tuple[float, float]:
    """left(c) and lower(c) where the words stored are those kept: bool [C]."""
    left, lower = 1.0, 1.0
    for row in range(lists.first_child[context], lists.first_child[context + 1]):
        if kept[row]:
            left -= lists.probs[row]
            lower -= lists.lower_probs[lists.suffixes[row]]
    # Where all words are stored, nothing is left but rounding errors.
    return max(left, 0.0), max(lower, 0.0)


@njit(cache=True, nogil=True)
def rises_of_perplexity(lists: Lists, weights: Float64s, context_probs: Float64s) -> Float64s:
    """By which share the model's perplexity rises without an n-gram, for each by itself.

    Section 3: exp(D) - 1, where D is the relative entropy of the model without it. Infinite where
    the shorter context gives the word no probability.

    Args:
        lists: the n-grams.
        weights: float64 [R], g(c).
        context_probs: float64 [R], P(c).

    Returns:
        float64 [C].
    """
    rises = np.empty(len(lists.probs), np.float64)
    all_kept = np.ones(len(lists.probs), np.bool_)
    for context in range(len(weights)):
        begin, end = lists.first_child[context], lists.first_child[context + 1]
        if begin == end:
            continue
        left, lower_left = left_over(lists, context, all_kept)
        for row in range(begin, end):
            prob, lower = lists.probs[row], lists.lower_probs[lists.suffixes[row]]
            if lower == 0.0:
                rises[row] = 0.0 if prob == 0.0 else np.inf
                continue
            # Section 3: the weight without the n-gram takes what it had, for w as well.
            weight = (left + prob) / (lower_left + lower)
            # Section 3, equation 5: of p(.|c) only p(w|c) and the weight have changed.
            of_word = prob * math.log(lower * weight / prob) if prob > 0.0 else 0.0
            of_rest = 0.0
            if left > 0.0 and weights[context] > 0.0:
                of_rest = left * math.log(weight / weights[context])
            entropy = -context_probs[context] * (of_word + of_rest)
            rises[row] = math.expm1(max(0.0, entropy))
    return rises


@njit(cache=True, nogil=True)
def weights_without(lists: Lists, log10_weights: Float32s, kept: Bools) -> Float32s:
    """log10 g(c), float32 [R], where of the n-grams of the lists only those kept stay.

    A context that loses nothing keeps its weight to the bit; one that loses all has 0, and the
    shorter context answers for it.

    Args:
        lists: the n-grams.
        log10_weights: float32 [R], with all n-grams.
        kept: bool [C].
    """
    changed = log10_weights.copy()
    for context in range(len(log10_weights)):
        begin, end = lists.first_child[context], lists.first_child[context + 1]
        stay = 0
        for row in range(begin, end):
            stay += kept[row]
        if stay == end - begin:
            continue
        if stay == 0:
            changed[context] = 0.0
            continue
        left, lower_left = left_over(lists, context, kept)
        if left > 0.0 and lower_left > 0.0:
            changed[context] = math.log10(left / lower_left)
        else:
            changed[context] = -np.inf
    return changed
