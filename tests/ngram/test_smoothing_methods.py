"""The rules of every method, put into the formula they are for, give the reference's models."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from reference import ReferenceModel, reference
from reference_counts import Ngram
from reference_methods import METHODS

from lmserve.errors import DiscountError, OptionError
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS, NO_DISCOUNTS, Discounts
from lmserve.ngram.smoothing_methods import OrderRule, Smoothing, SmoothingOptions

NO_COUNTS = np.zeros(4, np.int64)

words = st.sampled_from([b"a", b"b", b"c", b"d"])
corpora = st.lists(st.lists(words, max_size=6), max_size=8)
thresholds = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(sorted)


def test_there_is_a_reference_of_every_method() -> None:
    assert {method.value for method in Smoothing} == set(METHODS)


def by_rule(
    model: ReferenceModel, rules: list[OrderRule], context: Ngram, word: bytes
) -> tuple[float, float]:
    """p(word | context) and g(context) by the formula that `OrderRule` is for."""
    rule, k = rules[len(context)], len(context) + 1
    lower = 1 / len(model.vocabulary)
    if context:
        lower, _ = by_rule(model, rules, context[1:], word)
    seen = {ngram: a for ngram, a in model.counts[k].items() if ngram[:-1] == context}
    if not seen.keys() & model.kept[k]:
        return lower, 1.0
    novel = len(seen) * rule.per_type + rule.constant
    den = sum(seen.values()) + novel
    freed = sum(
        rule.discounts[min(a, 3) - 1] if ngram in model.kept[k] else a for ngram, a in seen.items()
    )
    g = (freed + novel) / den if math.isnan(rule.fixed_backoff) else rule.fixed_backoff
    ngram = (*context, word)
    if ngram not in model.kept[k]:
        return g * lower, g
    share = (seen[ngram] - rule.discounts[min(seen[ngram], 3) - 1]) / den
    return share + (g * lower if rule.interpolate else 0), g


@given(corpora, st.integers(1, 4), thresholds, st.sampled_from(Smoothing))
def test_rules_give_the_models_of_the_reference(
    corpus: list[list[bytes]], order: int, prune: list[int], smoothing: Smoothing
) -> None:
    model = reference(
        corpus,
        order,
        smoothing,
        prune=prune[:order],
        discount_fallback=tuple(FALLBACK_DISCOUNTS),
        k=0.3,
        backoff_factor=0.6,
    )
    assert model.counts is (model.adjusted if smoothing.uses_adjusted_counts else model.raw)
    options = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS, add_k=0.3, backoff_factor=0.6)
    rules = [
        smoothing.rule(np.array(model.counts_of_counts[k]), k, len(model.vocabulary), options)
        for k in range(1, order + 1)
    ]
    for ngram, prob, backoff in model.ngrams():
        if ngram != (b"<s>",):
            assert by_rule(model, rules, ngram[:-1], ngram[-1])[0] == pytest.approx(prob), ngram
        if backoff is not None:
            assert by_rule(model, rules, ngram, b"a")[1] == pytest.approx(backoff), ngram


def test_kernels_take_a_rule_as_it_is() -> None:
    @njit
    def discounted(rule: OrderRule, count: int) -> float:
        taken: float = rule.discounts[min(count, 3) - 1]
        return count - taken + rule.constant if rule.interpolate else rule.fixed_backoff

    assert discounted(OrderRule(Discounts(0.5, 1.0, 1.25), constant=2.0), 7) == 7.75
    assert discounted(OrderRule(fixed_backoff=0.4, interpolate=False), 7) == 0.4


def test_given_discounts_replace_the_formula() -> None:
    given_ = (Discounts(0.1, 0.2, 0.3), Discounts(0.4, 0.5, 0.6))
    options = SmoothingOptions(discounts=given_)
    for smoothing in Smoothing:
        expected = given_[1] if smoothing.has_discounts else NO_DISCOUNTS
        assert smoothing.rule(NO_COUNTS, 2, 10, options).discounts == expected
        if smoothing.has_discounts:
            with pytest.raises(DiscountError):
                smoothing.rule(NO_COUNTS, 2, 10)
            smoothing.check_options(options, 2)
            with pytest.raises(OptionError, match="for 2 orders, and the model has 3"):
                smoothing.check_options(options, 3)
        else:
            smoothing.check_options(SmoothingOptions(), 2)
            with pytest.raises(OptionError, match=f"{smoothing} takes none off"):
                smoothing.check_options(options, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"add_k": 0}, "k = 0 cannot be added"),
        ({"add_k": math.nan}, "k = nan"),
        ({"add_k": math.inf}, "k = inf"),
        ({"backoff_factor": 0}, "0 is no factor"),
        ({"backoff_factor": 1.5}, "1.5 is no factor"),
        (
            {"discounts": (Discounts(0.5, 1, 1.5), Discounts(2, 0, 0))},
            "discount 2 for a count of 1",
        ),
        ({"discount_fallback": Discounts(0, 0, 4)}, "discount 4 for a count of 3 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SmoothingOptions(**options)  # type: ignore[arg-type]
