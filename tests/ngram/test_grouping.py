import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.ngram.grouping import group


def assert_like_unique(keys: np.ndarray) -> None:
    unique, rows, counts = group(keys)
    expected = np.unique(keys, return_inverse=True, return_counts=True)
    for found, wanted in zip((unique, rows, counts), expected, strict=True):
        assert found.dtype == np.int64
        assert found.tolist() == wanted.tolist()


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 5), max_size=50))
def test_it_is_unique(keys: list[int]) -> None:
    assert_like_unique(np.array(keys, np.int64))


@pytest.mark.parametrize("bits", [(3, 3), (11, 12), (18, 24), (32, 30)])
def test_pairs_of_numbers(bits: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    low, high = (rng.integers(0, 2**b, 20_000) for b in bits)
    assert_like_unique(high << 32 | low)
