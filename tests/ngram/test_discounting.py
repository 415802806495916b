"""Discounts and rules against the plain reference; refused values with cause and remedy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_methods import published_discount, published_discounts

from lmserve.errors import DiscountError, OptionError
from lmserve.ngram.discounting import (
    FALLBACK_DISCOUNTS,
    Discounts,
    check_discounts,
    modified_kneser_ney,
    parse_discounts,
    single_discount,
)

counts_of_counts = st.tuples(*[st.integers(0, 50) | st.integers(0, 10**7)] * 4)


@given(counts_of_counts)
def test_modified_kneser_ney_is_the_published_formula(t: tuple[int, int, int, int]) -> None:
    try:
        expected = published_discounts(t)
    except ValueError:
        numbers = ", ".join(map(str, t))
        with pytest.raises(DiscountError, match=f"order 2.*are {numbers}, and") as error:
            modified_kneser_ney(np.array(t), 2)
        assert "discounts 0.5, 1, 1.5 there: --resume --discount-fallback" in error.value.remedy
        assert modified_kneser_ney(np.array(t), 2, FALLBACK_DISCOUNTS) == FALLBACK_DISCOUNTS
    else:
        assert modified_kneser_ney(np.array(t), 2) == expected


@given(counts_of_counts)
def test_the_single_discount_is_the_published_formula(t: tuple[int, int, int, int]) -> None:
    try:
        expected = published_discount(t)
    except ValueError:
        with pytest.raises(DiscountError, match="seen once and twice") as error:
            single_discount(np.array(t), 2)
        assert "use the discount 0.5 there: --resume --discount-fallback" in error.value.remedy
        fallback = single_discount(np.array(t), 2, Discounts(0.3, 1.1, 2.0))
        assert fallback == (0.3, 0.3, 0.3)
    else:
        found = single_discount(np.array(t), 2)
        assert found == expected
        assert 0 < found.one < 1


@pytest.mark.parametrize(
    "text", ["0.5 1 1.5", "0.5,1,1.5", " 0.5, 1.0  1.5 ", "D1=0.5 D2=1 D3+=1.5"]
)
def test_discounts_are_read_as_kenlm_prints_them(text: str) -> None:
    assert parse_discounts(text) == FALLBACK_DISCOUNTS


@pytest.mark.parametrize("text", ["", "0.5", "0.5 1", "0.5 1 1.5 2", "a b c", "D1=0.5 D2=1"])
def test_what_is_no_discounts_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is not the discounts of an order"):
        parse_discounts(text)


@pytest.mark.parametrize(
    ("discounts", "message"),
    [
        ((1.5, 1, 1), "discount 1.5 for a count of 1 would leave less than nothing"),
        ((0, 2.5, 1), "discount 2.5 for a count of 2 "),
        ((0, 0, 3.5), "discount 3.5 for a count of 3 or more "),
        ((0, -0.5, 1), "discount -0.5 for a count of 2 would leave more than was counted"),
        ((math.nan, 1, 1), "discount nan for a count of 1 "),
    ],
)
def test_discounts_out_of_range_are_refused(
    discounts: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check_discounts(Discounts(*discounts))
    check_discounts(Discounts(0, 0, 0))
    check_discounts(Discounts(1, 2, 3))
