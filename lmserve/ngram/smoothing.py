"""Smoothing: adjusted counts and discounts -> probabilities and backoff weights.

With a(.) adjusted counts, c a context, c' the context without its first word, D the discounts and
N1, N2, N3+ the numbers of words seen after c with adjusted count 1, 2, 3 or more:

    p(w | c) = (a(c w) - D(a(c w))) / sum_x a(c x) + g(c) p(w | c')
    g(c)     = (D1 N1 + D2 N2 + D3+ N3+) / sum_x a(c x)

(Chen and Goodman 1999, section 3: interpolated modified Kneser-Ney). The recursion ends in the
uniform distribution over the words that can be predicted: all but `<s>`.

Maximum likelihood is the same formula over plain counts with no discounts: g(c) = 0.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.adjusting import NGrams, count_counts
from lmserve.ngram.discounting import NO_DISCOUNTS, Discounts, modified_kneser_ney
from lmserve.ngram.grouping import Int64s
from lmserve.text.special_tokens import BOS

Floats = npt.NDArray[np.float64]


class Smoothing(StrEnum):
    """How probability is set aside for what was not seen."""

    MODIFIED_KNESER_NEY = "modified-kneser-ney"
    MAXIMUM_LIKELIHOOD = "maximum-likelihood"

    def counts(self, ngrams: NGrams) -> Int64s:
        """The counts that probabilities are made of, int64 [N]."""
        return ngrams.adjusted if self is Smoothing.MODIFIED_KNESER_NEY else ngrams.count

    def discounts(
        self, counts_of_counts: Int64s, order: int, fallback: Discounts | None
    ) -> Discounts:
        """The discounts of one order; see `modified_kneser_ney` for arguments and errors."""
        if self is Smoothing.MAXIMUM_LIKELIHOOD:
            return NO_DISCOUNTS
        return modified_kneser_ney(counts_of_counts, order, fallback)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unigrams:
    """The only part of a model that all shards share.

    Attributes:
        probability: float64 [V]; 0 for `<s>`.
        discounts: of order 1.
    """

    probability: Floats
    discounts: Discounts


def smooth_unigrams(counts: Int64s, smoothing: Smoothing, fallback: Discounts | None) -> Unigrams:
    """Probabilities of single words.

    Args:
        counts: int64 [V]; for Kneser-Ney of an order above 1 the number of distinct words before
            each, else occurrences. That of `<s>` is not used: it is never predicted.
        smoothing: which formula.
        fallback: discounts where the formula gives none.

    Raises:
        DiscountError: no discount follows from the counts, and there is no fallback.
    """
    predicted = counts.copy()
    predicted[BOS] = 0
    discounts = smoothing.discounts(count_counts(predicted), 1, fallback)
    # One context, the empty one, whose lower order is the uniform distribution.
    uniform = np.full(1, 1.0 / (len(counts) - 1))
    probability, _ = smooth(
        np.array([0, len(counts)]),
        predicted,
        np.zeros(len(counts), np.int64),
        uniform,
        np.array(discounts),
    )
    probability[BOS] = 0.0
    return Unigrams(probability=probability, discounts=discounts)


@njit(cache=True, nogil=True)
def smooth(
    first_ngram: Int64s, counts: Int64s, lower: Int64s, lower_probability: Floats, discounts: Floats
) -> tuple[Floats, Floats]:
    """Probabilities and backoff weights of one order.

    Args:
        first_ngram: int64 [C + 1]; the n-grams of context c are the rows from first_ngram[c] to
            first_ngram[c + 1].
        counts: int64 [N], adjusted counts.
        lower: int64 [N], row of each n-gram without its first word, in `lower_probability`.
        lower_probability: float64 [M], of the order below.
        discounts: float64 [3].

    Returns:
        probability, float64 [N]; backoff weight g, float64 [C], 1 for a context with no n-gram.
    """
    probability = np.empty(len(counts), np.float64)
    backoff = np.ones(len(first_ngram) - 1, np.float64)
    for c in range(len(backoff)):
        total = 0
        with_count = np.zeros(3, np.int64)
        for i in range(first_ngram[c], first_ngram[c + 1]):
            total += counts[i]
            if counts[i] > 0:
                with_count[min(counts[i], 3) - 1] += 1
        if total == 0:
            continue
        backoff[c] = (
            discounts[0] * with_count[0]
            + discounts[1] * with_count[1]
            + discounts[2] * with_count[2]
        ) / total
        for i in range(first_ngram[c], first_ngram[c + 1]):
            discount = discounts[min(counts[i], 3) - 1] if counts[i] > 0 else 0.0
            probability[i] = (counts[i] - discount) / total + backoff[c] * lower_probability[
                lower[i]
            ]
    return probability, backoff


@njit(cache=True, nogil=True)
def log10(values: Floats) -> Floats:
    """log10 of each value, float64 [N]; -infinity for 0.

    A plain loop: NumPy picks its logarithm by processor, and the last bit of a model must not
    depend on which machine computed it.
    """
    result = np.empty(len(values), np.float64)
    for i in range(len(values)):
        result[i] = np.log10(values[i]) if values[i] > 0 else -np.inf
    return result
