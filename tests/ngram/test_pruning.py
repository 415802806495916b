"""Thresholds of every order, and those that make no model."""

import pytest

from lmserve.errors import OptionError
from lmserve.ngram.pruning import NO_PRUNING, prune_thresholds


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (NO_PRUNING, [0, 0, 0, 0]),
        ((0, 0, 1), [0, 0, 1, 1]),
        ((0, 1), [0, 1, 1, 1]),
        ((0, 1, 2, 5), [0, 1, 2, 5]),
    ],
)
def test_the_last_threshold_is_that_of_higher_orders(
    given: tuple[int, ...], expected: list[int]
) -> None:
    assert prune_thresholds(given, 4).tolist() == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "do not begin with 0"),
        ((1,), "'1' do not begin with 0"),
        ((-1, 0), "do not begin with 0"),
        ((0, 2, 1), "'0 2 1' decrease"),
        ((0, -1), "decrease"),
        ((0, 0, 1, 1), "are for 4 orders, and the model has 3"),
    ],
)
def test_thresholds_are_refused(given: tuple[int, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        prune_thresholds(given, 3)
