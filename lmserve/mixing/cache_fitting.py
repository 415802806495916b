"""The cache under which a development text is most probable, and the mixture's weights with it.

The likelihood is no concave function of the cache's three numbers, so they are found by trying:
each a step up and down, and half the step where nothing is better (a compass search; Kolda, Lewis
and Torczon 2003, section 1). Weights are made anew for every cache that is tried.
"""

import math
from collections.abc import Callable

import numpy as np

from lmserve.mixing.combining import Floats
from lmserve.mixing.weights import Fit, fit_linear
from lmserve.mixing.word_cache import CacheSettings, WordCache
from lmserve.text.word_table import Ids

# ln strength, ln (1 - decay), theta: where the search begins, near what the Penn Treebank gives,
# and how far each may go.
_START = (math.log(2000), math.log(0.01), 2.0)
_LOWEST = (0.0, math.log(1e-6), 0.0)
_HIGHEST = (math.log(1e9), math.log(0.5), 10.0)
_FIRST_STEP = 0.8
_LAST_STEP = 0.02
# How far weights may be from the best, in ln P a word: beside a cache that is tried; at last.
_TRIED, _FINAL = 1e-5, 1e-7
_DIGITS = 4

_Place = tuple[float, ...]


def fit_cache(
    log10_probs: Floats, ids: Ids, weights: Floats, *, window: int, words: int
) -> tuple[Fit, CacheSettings]:
    """Weights of a linear mixture with a cache, and the cache.

    Args:
        log10_probs: float64 [K, N], of the text's words under each component.
        ids: uint32 [N], the words, one line after the other.
        weights: float64 [K], good ones without a cache.
        window: words to remember.
        words: V, in the vocabulary.
    """
    starts = np.array([0, len(ids)])
    # Away from 0, which no step of expectation-maximisation leaves.
    start = 0.99 * weights + 0.01 / len(weights)

    def fit(settings: CacheSettings, tolerance: float) -> Fit:
        return fit_linear(
            log10_probs,
            recalled=WordCache(settings, words).recall(ids, starts),
            strength=settings.strength,
            start=start,
            tolerance=tolerance,
        )

    place = _search(lambda tried: fit(_settings(tried, window), _TRIED).log_likelihoods[-1])
    settings = _settings(place, window)
    return fit(settings, _FINAL), settings


def _settings(place: _Place, window: int) -> CacheSettings:
    ln_strength, ln_fading, theta = place
    return CacheSettings(
        window=window,
        decay=round(1 - math.exp(ln_fading), 6),
        theta=_rounded(theta),
        strength=_rounded(math.exp(ln_strength)),
    )


def _rounded(value: float) -> float:
    """As many digits as the search can tell, and no more."""
    return float(f"{value:.{_DIGITS}g}")


def _search(value: Callable[[_Place], float]) -> _Place:
    """Where a value is largest, as far as steps along one axis find it."""
    place: _Place = _START
    best, step = value(place), _FIRST_STEP
    while step > _LAST_STEP:
        before = best
        for axis in range(len(_START)):
            for way in (step, -step):
                moved = min(max(place[axis] + way, _LOWEST[axis]), _HIGHEST[axis])
                tried = (*place[:axis], moved, *place[axis + 1 :])
                reached = value(tried) if tried != place else best
                if reached > best:
                    place, best = tried, reached
                    break
        if best == before:
            step /= 2
    return place
