"""Two ways of making one distribution of several.

    linear      P(w | h) = sum_k l_k P_k(w | h), l_k >= 0, sum_k l_k = 1
                (Jelinek and Mercer 1980)
    log-linear  P(w | h) = prod_k P_k(w | h)^l_k / Z(h), l_k >= 0
                (Klakow 1998, section 2)

A linear mixture needs the probability of the word that came; a log-linear one, for Z(h), those of
all words.
"""

import math
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from lmserve.text.special_tokens import BOS

Floats = npt.NDArray[np.float64]

# Of probability 0 in a product, as in ARPA files, so that 0^0 is 1 and 0^l next to nothing.
ZERO_LOG10 = -99.0
LN_10 = math.log(10)


class Method(StrEnum):
    """How a mixture combines its components."""

    LINEAR = "linear"
    LOG_LINEAR = "log-linear"


def combine_linear(log10_probs: Floats, weights: Floats) -> Floats:
    """log10 sum_k l_k P_k: [...] for log10 P_k, [K, ...], and l, [K]."""
    with np.errstate(divide="ignore"):
        ln_weights = np.log(weights).reshape(-1, *[1] * (log10_probs.ndim - 1))
    mixed: Floats = np.logaddexp.reduce(log10_probs * LN_10 + ln_weights, axis=0) / LN_10
    return mixed


def combine_log_linear(log10_probs: Floats, weights: Floats) -> Floats:
    """log10 of prod_k P_k^l_k / Z: whole distributions [T, V] for log10 P_k, [K, T, V], and l, [K].

    `<s>` is no word to come: it has probability 0, and no part in Z.
    """
    scores: Floats = np.tensordot(weights, np.maximum(log10_probs, ZERO_LOG10), 1)
    scores[:, BOS] = -np.inf
    top = scores.max(axis=1, keepdims=True)
    scores -= top
    scores -= np.log10(np.exp(scores * LN_10).sum(axis=1, keepdims=True))
    return scores
