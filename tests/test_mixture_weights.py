"""The weights of a mixture: the best there are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmserve.mixing.combining import combine_linear, combine_log_linear
from lmserve.mixing.weights import Foretold, fit_linear, fit_log_linear

# Bits of log10 probabilities: of words that are likely, and of such as cannot be.
log10s = st.floats(-30, 0) | st.just(-np.inf)


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(log10s, min_size=k, max_size=k), min_size=1, max_size=30)
    )
)
def test_em_never_lowers_the_likelihood(columns: list[list[float]]) -> None:
    probs = np.array(columns).T
    fit = fit_linear(probs)
    assert (fit.weights >= 0).all()
    assert fit.weights.sum() == pytest.approx(1, abs=1e-12)
    rises = np.diff(fit.log_likelihoods)
    assert (rises >= -1e-12 * np.abs(fit.log_likelihoods[:-1])).all()
    possible = probs[:, probs.max(axis=0) > -np.inf]
    if possible.shape[1]:
        reached = combine_linear(possible, fit.weights).mean() * np.log(10)
        assert reached == pytest.approx(fit.log_likelihoods[-1], abs=1e-6)


@given(st.lists(st.tuples(*[st.floats(-8, 0)] * 3), min_size=2, max_size=40))
@settings(max_examples=40)
def test_no_weights_of_a_grid_are_better(columns: list[tuple[float, float, float]]) -> None:
    probs = np.array(columns).T
    best = combine_linear(probs, fit_linear(probs).weights).mean()
    for first, second in itertools.product(range(9), repeat=2):
        if first + second <= 8:
            weights = np.array([first, second, 8 - first - second]) / 8
            assert combine_linear(probs, weights).mean() <= best + 1e-6


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=25)
def test_log_linear_weights_are_the_best_there_are(seed: int, models: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(models, 30, 9)) * 2
    scores -= np.log10((10**scores).sum(axis=2, keepdims=True))
    ids = random.integers(2, 9, 30).astype(np.uint32)
    fit = fit_log_linear(
        [Foretold.of(scores[:, :11], ids[:11]), Foretold.of(scores[:, 11:], ids[11:])]
    )

    def likelihood(weights: np.ndarray) -> float:
        chosen = combine_log_linear(scores, weights)[np.arange(30), ids]
        return float(chosen.mean() * np.log(10))

    assert (fit.weights >= 0).all()
    assert (np.diff(fit.log_likelihoods) > 0).all()
    best = likelihood(fit.weights)
    assert best == pytest.approx(fit.log_likelihoods[-1], abs=1e-5)
    for _ in range(40):
        near = np.maximum(fit.weights + random.normal(size=models) * random.choice([0.01, 1]), 0)
        assert likelihood(near) <= best + 1e-5
