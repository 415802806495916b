"""Entropy pruning of the reference: by direct summation, and on paper."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import reference
from reference_counts import BOS, EOS, Ngram
from reference_entropy import (
    BackoffModel,
    backoff_model,
    entropy_pruned,
    relative_entropy,
    reweighted,
)

FALLBACK = (0.5, 1.0, 1.5)

words = st.sampled_from([b"a", b"b", b"c", b"d"])
corpora = st.lists(st.lists(words, max_size=6), min_size=1, max_size=8)
models = st.builds(
    lambda corpus, order, smoothing: backoff_model(
        reference(corpus, order, smoothing, discount_fallback=FALLBACK, k=0.3)
    ),
    corpora,
    st.integers(2, 4),
    st.sampled_from(["modified-kneser-ney", "absolute-discounting", "witten-bell", "add-k"]),
)


# A sentence is a, b or nothing: p(a) = p(b) = 1/4, p(</s>) = 1/2; at its start p(a) = 5/8, and the
# rest as p has it: alpha(<s>) = (1 - 5/8) / (1 - 1/4) = 1/2. After a, </s> has 7/8:
# alpha(a) = (1 - 7/8) / (1 - 1/2) = 1/4.
PAPER = BackoffModel(
    {b"a", b"b", EOS},
    {(b"a",): 1 / 4, (b"b",): 1 / 4, (EOS,): 1 / 2, (BOS, b"a"): 5 / 8, (b"a", EOS): 7 / 8},
    {(BOS,): 1 / 2, (b"a",): 1 / 4},
)


def test_prices_on_paper() -> None:
    # Without `<s> a` the weight is 1, and P(<s>) = p(</s>) = 1/2:
    # 1/2 (5/8 log(5/8 / 1/4) + 1/8 log(1/8 / 1/4) + 1/4 log(1/4 / 1/2))
    at_start = (5 / 8 * math.log(5 / 2) - 3 / 8 * math.log(2)) / 2
    # Without `a </s>`, and P(a) = 1/4: 1/4 (7/8 log(7/8 / 1/2) + 2/16 log(1/16 / 1/4))
    after_a = (7 / 8 * math.log(7 / 4) - 1 / 8 * math.log(4)) / 4
    assert relative_entropy(PAPER, (BOS, b"a")) == pytest.approx(at_start)
    assert relative_entropy(PAPER, (b"a", EOS)) == pytest.approx(after_a)
    assert after_a < at_start
    between = math.expm1((after_a + at_start) / 2)
    assert entropy_pruned(PAPER, between).probs.keys() == PAPER.probs.keys() - {(b"a", EOS)}
    assert entropy_pruned(PAPER, between).weights == {(BOS,): pytest.approx(1 / 2)}
    # One whose price is the threshold stays.
    exactly = math.expm1(relative_entropy(PAPER, (b"a", EOS)))
    assert entropy_pruned(PAPER, exactly).probs == PAPER.probs


@given(models)
@settings(max_examples=40)
def test_the_price_is_the_sum_over_all_words(model: BackoffModel) -> None:
    for ngram in [ngram for ngram in model.probs if len(ngram) > 1]:
        history = ngram[:-1]
        without = reweighted(model, model.probs.keys() - {ngram})
        # Other histories do not change by what this formula is about.
        without.weights.update({h: w for h, w in model.weights.items() if h != history})
        by_word = [
            (model.prob(history, word), without.prob(history, word)) for word in model.vocabulary
        ]
        total = math.fsum(p * math.log(p / q) for p, q in by_word if p > 0)
        expected = model.history_prob(history) * total
        assert relative_entropy(model, ngram) == pytest.approx(expected, abs=1e-12), ngram


@given(models, st.sampled_from([1e-4, 1e-3, 1e-2, 1e-1]))
@settings(max_examples=60)
def test_what_is_left_is_a_model(model: BackoffModel, threshold: float) -> None:
    pruned = entropy_pruned(model, threshold)
    for history in [*model.weights, (), (b"d",) * 5]:
        total = math.fsum(pruned.prob(history, word) for word in pruned.vocabulary)
        assert total == pytest.approx(1, abs=1e-9), history
    for ngram in pruned.probs:
        assert all(h in pruned.probs or h == (BOS,) for h in ends_of_history(ngram))
    assert entropy_pruned(model, threshold * 10).probs.keys() <= pruned.probs.keys()


def ends_of_history(ngram: Ngram) -> list[Ngram]:
    return [ngram[i:-1] for i in range(len(ngram) - 1)]


@given(models)
@settings(max_examples=20)
def test_nothing_and_everything(model: BackoffModel) -> None:
    assert entropy_pruned(model, 0.0).probs == model.probs
    for history, weight in entropy_pruned(model, 0.0).weights.items():
        if len(model.stored(history)) < len(model.vocabulary):
            assert weight == pytest.approx(model.weights[history])
    words_only = entropy_pruned(model, 1e9)
    assert {len(ngram) for ngram in words_only.probs} == {1}
    assert words_only.weights == {}
