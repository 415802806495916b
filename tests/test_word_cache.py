"""The cache of words: its formula word for word, and the best settings that a text has."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.errors import OptionError, StateError
from lmserve.mixing import cache_fitting
from lmserve.mixing.cache_fitting import fit_cache
from lmserve.mixing.combining import combine_linear
from lmserve.mixing.making import MixConfig
from lmserve.mixing.weights import fit_linear
from lmserve.mixing.word_cache import NOTHING_READ, CacheSettings, WordCache
from lmserve.text.special_tokens import BOS, UNK
from lmserve.text.word_table import OOV

VOCABULARY = 6
# Ids of words, without that of `<s>`, which no text holds.
WORDS = st.sampled_from([UNK, 2, 3, 4, 5, OOV])
SETTINGS = st.builds(
    CacheSettings,
    window=st.integers(1, 12),
    decay=st.floats(0.3, 1),
    theta=st.floats(0, 4),
    strength=st.floats(0.1, 1000),
)


def said(settings: CacheSettings, before: list[int], word: int) -> tuple[float, float]:
    """The two sums of the formula, one word after the other: sum a_i [w_i = w] and sum a_i."""
    before = [UNK if w == OOV else w for w in before][-settings.window :]
    hits = total = 0.0
    for i, remembered in enumerate(before):
        alike = 0
        while alike < min(2, i) and before[i - 1 - alike] == before[-1 - alike]:
            alike += 1
        share = settings.decay ** (len(before) - 1 - i) * math.exp(settings.theta * alike)
        total += share
        hits += share * (remembered == (UNK if word == OOV else word))
    return hits, total


@given(SETTINGS, st.lists(st.lists(WORDS, max_size=30), min_size=1, max_size=4))
def test_what_is_recalled_is_the_formula(cache: CacheSettings, texts: list[list[int]]) -> None:
    starts = np.cumsum([0, *map(len, texts)])
    ids = np.array([w for text in texts for w in text], np.uint32)
    recalled = WordCache(cache, VOCABULARY).recall(ids, starts)
    expected = [said(cache, text[:t], text[t]) for text in texts for t in range(len(text))]
    hits, totals = np.array(expected).reshape(-1, 2).T
    assert recalled.hits == pytest.approx(hits, rel=1e-9, abs=1e-12)
    assert recalled.totals == pytest.approx(totals, rel=1e-9, abs=1e-12)


@given(SETTINGS, st.lists(WORDS, max_size=40), st.integers(0, 40))
def test_words_parts_and_distributions_agree(
    settings: CacheSettings, text: list[int], cut: int
) -> None:
    cache, ids = WordCache(settings, VOCABULARY), np.array(text, np.uint32)
    whole = cache.recall(ids, np.array([0, len(ids)]))
    state = cache.after(NOTHING_READ, ids[:cut])
    joined = np.concatenate((state, ids[cut:]))
    rest = cache.recall(joined, np.array([0, len(joined)]), read=len(state))
    assert rest.hits == pytest.approx(whole.hits[cut:], rel=1e-9, abs=1e-12)
    assert rest.totals == pytest.approx(whole.totals[cut:], rel=1e-9, abs=1e-12)
    state = NOTHING_READ
    for t in range(len(ids)):
        word = UNK if ids[t] == OOV else int(ids[t])
        one, every = cache.recall_word(state, word), cache.recall_all(state)
        assert one.hits[0] == pytest.approx(whole.hits[t], rel=1e-9, abs=1e-12)
        assert one.totals[0] == pytest.approx(whole.totals[t], rel=1e-9, abs=1e-12)
        assert every.hits[word] == pytest.approx(one.hits[0], rel=1e-12, abs=1e-12)
        assert every.hits.sum() == pytest.approx(every.totals[0], rel=1e-12, abs=1e-12)
        state = cache.after(state, ids[t : t + 1])
        assert (cache.unpack_state(cache.pack_state(state)) == state).all()
    assert len(state) == min(len(ids), settings.window)


@given(SETTINGS, st.lists(WORDS, max_size=20), st.integers(0, 1000))
def test_a_blend_is_a_distribution_and_with_nothing_read_the_model(
    settings: CacheSettings, text: list[int], seed: int
) -> None:
    cache = WordCache(settings, VOCABULARY)
    probs = np.random.default_rng(seed).dirichlet(np.full(VOCABULARY, 0.3))
    with np.errstate(divide="ignore"):
        model = np.log10(probs)
    state = cache.after(NOTHING_READ, np.array(text, np.uint32))
    blended = 10.0 ** cache.blend(model, cache.recall_all(state))
    assert blended.sum() == pytest.approx(1, abs=1e-9)
    expected = [
        (settings.strength * probs[w] + said(settings, text, w)[0])
        / (settings.strength + said(settings, text, w)[1])
        for w in range(VOCABULARY)
    ]
    assert blended == pytest.approx(expected, rel=1e-9, abs=1e-15)
    nothing = cache.blend(model, cache.recall_all(NOTHING_READ))
    assert nothing == pytest.approx(model, abs=1e-12)


def _text(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Words that come in bursts, some of them impossible by themselves; log10 P by two models."""
    random = np.random.default_rng(seed)
    bursts = [random.choice(np.arange(2, 40), 6) for _ in range(30)]
    ids = np.concatenate([random.choice(burst, 50) for burst in bursts]).astype(np.uint32)
    log10_probs = np.log10(random.dirichlet(np.ones(40), size=2))[:, ids]
    log10_probs[:, ids == 7] = -np.inf
    return log10_probs, ids


def _reached(
    log10_probs: np.ndarray, ids: np.ndarray, cache: CacheSettings, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    opened = WordCache(cache, 40)
    mixed = combine_linear(log10_probs, weights)
    blended = opened.blend(mixed, opened.recall(ids, np.array([0, len(ids)])))
    return blended, float(blended[blended > -np.inf].mean() * np.log(10))


def test_no_step_away_from_what_was_found_is_better() -> None:
    log10_probs, ids = _text()
    plain = fit_linear(log10_probs)
    fit, cache = fit_cache(log10_probs, ids, plain.weights, window=200, words=40)
    blended, reached = _reached(log10_probs, ids, cache, fit.weights)
    assert reached == pytest.approx(fit.log_likelihoods[-1], abs=1e-9)
    assert not fit.possible
    assert np.isneginf(blended).any()
    # By far: half of a burst's words are its own.
    assert reached > plain.log_likelihoods[-1] + 0.5
    assert not plain.possible
    # Where the search could have gone on: further than its last step, by more than its tolerance.
    for factor in (0.9, 1.1):
        for change in (
            {"strength": cache.strength * factor},
            {"decay": 1 - (1 - cache.decay) * factor},
            {"theta": cache.theta + factor - 1},
        ):
            other = CacheSettings.model_validate(cache.model_dump() | change)
            assert _reached(log10_probs, ids, other, fit.weights)[1] < reached + 1e-4
    for weight in np.linspace(0, 1, 11):
        other = np.array([weight, 1 - weight])
        assert _reached(log10_probs, ids, cache, other)[1] < reached + 1e-6


def test_a_cache_that_says_nothing_is_given_no_part() -> None:
    random = np.random.default_rng(1)
    ids = random.integers(2, 40, 3000).astype(np.uint32)
    log10_probs = np.full((2, len(ids)), np.log10(1 / 38))
    fit, cache = fit_cache(log10_probs, ids, np.array([0.5, 0.5]), window=100, words=40)
    share = 1 - cache.strength / (cache.strength + 1 / (1 - cache.decay))
    assert share < 0.05
    assert fit.log_likelihoods[-1] > np.log(1 / 38) - 1e-3


def test_the_search_ends_at_the_top_of_a_hill() -> None:
    top = (math.log(150.0), math.log(0.002), 1.3)

    def height(place: tuple[float, ...]) -> float:
        return -sum((a - b) ** 2 for a, b in zip(place, top, strict=True))

    assert cache_fitting._search(height) == pytest.approx(top, abs=0.02)


def test_what_was_read_is_never_impossible_however_long_ago() -> None:
    cache = WordCache(CacheSettings(window=5000, decay=0.5, theta=0, strength=1), VOCABULARY)
    ids = np.array([2, *[3] * 4999, 2], np.uint32)
    recalled = cache.recall(ids, np.array([0, len(ids)]))
    assert 0 < recalled.hits[-1] < 1e-200
    impossible = np.full(len(ids), -np.inf)
    assert np.isfinite(cache.blend(impossible, recalled)[[2, -1]]).all()


def test_no_word_is_more_than_certain() -> None:
    cache = WordCache(CacheSettings(window=5000, decay=0.999999, theta=10, strength=1), VOCABULARY)
    ids = np.full(20_000, 2, np.uint32)
    recalled = cache.recall(ids, np.array([0, len(ids)]))
    assert cache.blend(np.full(len(ids), -1e-4), recalled).max() <= 0


@pytest.mark.parametrize("window", [0, -3, 10_001])
def test_a_cache_of_no_words_is_refused(tmp_path: Path, window: int) -> None:
    with pytest.raises(OptionError, match=f"cache is {window:,} words"):
        MixConfig(models=(), dev=(), output=tmp_path, cache=window)


@pytest.mark.parametrize(
    ("packed", "problem"),
    [
        (b"\0" * 5, "5 bytes"),
        (b"\2\0\0\0" * 4, "16 bytes"),
        (b"\6\0\0\0", "word 6"),
        (BOS.to_bytes(4, "little"), f"word {BOS}"),
    ],
)
def test_states_that_cannot_be_are_refused(packed: bytes, problem: str) -> None:
    cache = WordCache(CacheSettings(window=3, decay=0.9, theta=1, strength=10), VOCABULARY)
    with pytest.raises(StateError, match=problem):
        cache.unpack_state(packed)
