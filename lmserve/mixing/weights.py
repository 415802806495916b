"""Weights under which a development text is most probable.

Both likelihoods are concave in the weights: none are better than those where they stop rising.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmserve.mixing.combining import LN_10, ZERO_LOG10, Floats
from lmserve.mixing.word_cache import Recalled
from lmserve.text.special_tokens import BOS
from lmserve.text.word_table import Ids

_MAX_STEPS = 20_000
# By how much a step of expectation-maximisation is longer than the one before; and ln of how much a
# weight may change beside the others.
_HASTE = 1.1
_LONGEST_STEP = 30.0
_SMALLEST_STEP = 1e-6
# Added to the curvature, so that components that are alike make no singular matrix.
_RIDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights, and how they were found.

    Attributes:
        weights: float64 [K].
        log_likelihoods: the mean of ln P over the text's words, before the first step and after
            each; it never falls.
        possible: whether every word has a probability; those that have none are not in the means.
    """

    weights: Floats
    log_likelihoods: list[float]
    possible: bool = True


def fit_linear(
    log10_probs: Floats,
    *,
    recalled: Recalled | None = None,
    strength: float = 1.0,
    start: Floats | None = None,
    tolerance: float = 1e-7,
) -> Fit:
    """Weights of a linear mixture, by expectation-maximisation.

    A word's share in a weight is the probability that the component produced it (Jelinek and Mercer
    1980; Dempster, Laird and Rubin 1977, section 4.3). Steps become longer while the likelihood
    rises, and begin anew where it would fall (Salakhutdinov and Roweis 2003): components that are
    nearly alike would need too many else.

    Args:
        log10_probs: float64 [K, N], of the text's words under each component. Words that are
            impossible under all of them say nothing about the weights and are left out.
        recalled: what a cache of words says of the N words; None is no cache.
        strength: the mixture's beside it.
        start: weights to begin with, none of them 0; None is equal ones.
        tolerance: the steps end when no weights at all can raise the mean of ln P by more than
            this. As it is concave, that is at most max_k g_k - sum_k l_k g_k, g its gradient.
    """
    count = len(log10_probs)
    probs, added, base, possible = _scaled(log10_probs * LN_10, recalled, strength)
    weights = np.full(count, 1 / count) if start is None else start
    careful, rate = weights, 1.0
    log_likelihoods: list[float] = []
    while len(added) and len(log_likelihoods) < _MAX_STEPS:
        mixed = weights @ probs + added
        reached = base + float(np.log(mixed).mean())
        if log_likelihoods and reached < log_likelihoods[-1] and rate > 1:
            weights, rate = careful, 1.0
            continue
        log_likelihoods.append(reached)
        gains = (probs / mixed).mean(axis=1)
        if gains.max() - weights @ gains < tolerance:
            break
        careful = _stepped(weights, gains, 1.0)
        rate *= _HASTE
        weights = _stepped(weights, gains, rate)
    return Fit(weights, log_likelihoods, possible)


def _scaled(
    ln_probs: Floats, recalled: Recalled | None, strength: float
) -> tuple[Floats, Floats, float, bool]:
    """The possible words' probabilities, each word by a scale of its own that keeps them numbers.

    Returns:
        [K, T], of each component; [T], what the cache adds whatever the weights; the mean of ln of
        the scales; whether all N words are possible.
    """
    divisor = np.zeros(ln_probs.shape[1])
    said = np.full_like(divisor, -np.inf)
    if recalled is not None:
        divisor = np.log1p(recalled.totals / strength)
        with np.errstate(divide="ignore"):
            said = np.log(recalled.hits / strength)
    top = np.maximum(ln_probs.max(axis=0, initial=-np.inf), said)
    possible = top > -np.inf
    top = top[possible]
    base = float((top - divisor[possible]).mean()) if len(top) else 0.0
    probs, added = np.exp(ln_probs[:, possible] - top), np.exp(said[possible] - top)
    return probs, added, base, bool(possible.all())


def _stepped(weights: Floats, gains: Floats, rate: float) -> Floats:
    """Weights after a step; with the rate 1 that of expectation-maximisation."""
    with np.errstate(divide="ignore"):
        change = rate * np.log(gains)
    # None becomes 0 by a step too long, which it could not leave again.
    stepped = weights * np.exp(np.maximum(change - change.max(), -_LONGEST_STEP))
    total: Floats = stepped / stepped.sum()
    return total


@dataclass(frozen=True, slots=True)
class Foretold:
    """What K components said before each of T words, of all words that can come.

    Attributes:
        ln_probs: float32 [K, T, V - 1], without `<s>`.
        came: int64 [T], the place of the word that came.
    """

    ln_probs: npt.NDArray[np.float32]
    came: npt.NDArray[np.int64]

    @classmethod
    def of(cls, log10_probs: Floats, ids: Ids) -> "Foretold":
        """From log10 P of the whole vocabulary, [K, T, V], and the words that came, [T]."""
        kept = np.delete(np.maximum(log10_probs, ZERO_LOG10), BOS, axis=2) * LN_10
        came = ids.astype(np.int64)
        return cls(kept.astype(np.float32), came - (came > BOS))

    @property
    def ids(self) -> Ids:
        """The words that came, uint32 [T]."""
        return (self.came + (self.came >= BOS)).astype(np.uint32)

    def mixed_ln_probs(self, weights: Floats) -> Floats:
        """Ln P of the words that came, in a log-linear mixture: float64 [T]."""
        joint = np.tensordot(weights, self.ln_probs, 1)
        mixed: Floats = weights @ self.came_ln_probs() - np.logaddexp.reduce(joint, axis=1)
        return mixed

    def came_ln_probs(self) -> Floats:
        """Ln P of the words that came: float64 [K, T]."""
        return self.ln_probs[:, np.arange(len(self.came)), self.came].astype(np.float64)


def fit_log_linear(
    blocks: Sequence[Foretold], *, tolerance: float = 1e-6, max_steps: int = 100
) -> Fit:
    """Weights of a log-linear mixture, by Newton's method kept to l >= 0 (Bertsekas 1982).

    ln P(w | h) = sum_k l_k ln P_k(w | h) - ln Z(h) has the gradient ln P_k(w | h) - E ln P_k, the
    expectation being the mixture's own (Klakow 1998, section 2.2), and minus the covariance of the
    ln P_k for its curvature.

    Args:
        blocks: of the development text. Each step takes K + K^2 passes over all their numbers.
        tolerance: the steps end when no weight's derivative of the mean of ln P exceeds this.
        max_steps: or after so many.
    """
    count = len(blocks[0].ln_probs)
    weights = np.full(count, 1 / count)
    value, gradient, curvature = _measure(blocks, weights)
    log_likelihoods = [value]
    while len(log_likelihoods) <= max_steps:
        free = (weights > 0) | (gradient > 0)
        if not free.any() or np.abs(gradient[free]).max() < tolerance:
            break
        step = np.zeros(count)
        ridge = _RIDGE * max(1.0, float(np.trace(curvature))) * np.eye(int(free.sum()))
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)] + ridge, gradient[free])
        tried, measured = weights, (value, gradient, curvature)
        size = 1.0
        while measured[0] <= value and size > _SMALLEST_STEP:
            tried = np.maximum(weights + size * step, 0)
            measured = _measure(blocks, tried)
            size /= 2
        if measured[0] <= value:
            break
        weights, (value, gradient, curvature) = tried, measured
        log_likelihoods.append(value)
    return Fit(weights, log_likelihoods)


def _measure(blocks: Sequence[Foretold], weights: Floats) -> tuple[float, Floats, Floats]:
    """Mean ln P, its gradient [K] and minus its second derivatives [K, K]."""
    count = len(weights)
    value, gradient, curvature = 0.0, np.zeros(count), np.zeros((count, count))
    for block in blocks:
        ln_probs, came = block.ln_probs, block.came_ln_probs()
        joint = np.tensordot(weights, ln_probs, 1)
        top = joint.max(axis=1, keepdims=True)
        probs = np.exp(joint - top)
        sums = probs.sum(axis=1, keepdims=True)
        probs /= sums
        value += float((weights @ came - (top + np.log(sums))[:, 0]).sum())
        means = np.empty_like(came)
        for k in range(count):
            weighted = probs * ln_probs[k]
            means[k] = weighted.sum(axis=1)
            for j in range(k + 1):
                second = float(np.vdot(weighted, ln_probs[j])) - float(means[k] @ means[j])
                curvature[k, j] = curvature[j, k] = curvature[k, j] + second
        gradient += (came - means).sum(axis=1)
    words = sum(len(block.came) for block in blocks)
    return value / words, gradient / words, curvature / words
