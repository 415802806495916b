"""First children in unary, against the plain list of them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from lmserve.bit_counting import popcount
from lmserve.ngram.layout import UNARY_BLOCK_ROWS, Layout, LevelLayout
from lmserve.ngram.packed import Tables, children
from lmserve.ngram.packing import WIDE, pack_rows
from lmserve.ngram.unary import (
    MAX_SPAN,
    best_low_bits,
    next_one,
    nth_one,
    pack_unary,
    unary_words,
    unpack_unary,
)

Uint64s = npt.NDArray[np.uint64]

few = st.integers(0, 3)
# Some lists are long enough to make a block wide.
sizes = st.lists(few | st.just(5000) | st.integers(0, 300), min_size=1, max_size=40).flatmap(
    lambda some: st.lists(st.sampled_from(some), min_size=1, max_size=400)
)


def first_children(sizes: list[int]) -> Uint64s:
    return np.cumsum([0, *sizes]).astype(np.uint64)


def tables_of(first_child: Uint64s, low_bits: int) -> Tables:
    """A model of two levels above the unigrams, with nothing but first children in it."""
    rows, above = len(first_child) - 1, int(first_child[-1])
    words = unary_words(rows, above, low_bits)
    level = LevelLayout(
        rows=rows,
        position_bits=3,
        prob_bits=5,
        backoff_bits=4,
        child_bits=low_bits,
        unary_words=words,
    )
    last = LevelLayout(rows=above, position_bits=1, prob_bits=5, backoff_bits=0, child_bits=0)
    layout = Layout((level, last))
    bits = np.zeros(layout.total_words, np.uint64)
    start = layout.start_unary(2)
    bases, lows, wide = pack_unary(first_child, low_bits, bits[start : start + words])
    # All other fields full, so that none is read in the place of another.
    full = [np.full(rows, (1 << width) - 1, np.uint32) for width in (3, 5, 4)]
    pack_rows(bits, 0, 3, 5, 4, low_bits, *full, lows)
    blocks = np.append(bases, np.uint64(above))
    assert len(blocks) == layout.total_blocks
    return Tables(
        log10_prob=np.zeros(1, np.float32),
        log10_backoff=np.zeros(1, np.float32),
        first_child=np.zeros(1, np.int64),
        bits=bits,
        blocks=blocks.view(np.int64),
        wide=wide.view(np.int64),
        codebooks=np.zeros(layout.total_codes, np.float32),
        levels=layout.descriptor().ravel(),
    )


@njit
def all_children(tables: Tables, rows: int) -> npt.NDArray[np.int64]:
    found = np.empty((rows, 2), np.int64)
    for row in range(rows):
        found[row] = children(tables, 2, row)
    return found


@given(sizes, st.integers(0, 6))
def test_children_are_those_of_the_list(sizes: list[int], low_bits: int) -> None:
    first_child = first_children(sizes)
    found = all_children(tables_of(first_child, low_bits), len(sizes))
    assert (found[:, 0] == first_child[:-1]).all()
    assert (found[:, 1] == first_child[1:]).all()


@given(sizes, st.integers(0, 6))
def test_packed_and_unpacked(sizes: list[int], low_bits: int) -> None:
    first_child = first_children(sizes)
    vector = np.zeros(unary_words(len(sizes), int(first_child[-1]), low_bits), np.uint64)
    bases, lows, wide = pack_unary(first_child, low_bits, vector)
    assert (unpack_unary(vector, lows, low_bits) == first_child[:-1]).all()
    ones = [int(first) >> low_bits for first in first_child[:-1]]
    n_wide = 0
    for block, base in enumerate(bases):
        begin = block * UNARY_BLOCK_ROWS
        end = min(begin + UNARY_BLOCK_ROWS, len(sizes)) - 1
        if ones[end] - ones[begin] + end - begin > MAX_SPAN:
            assert base == WIDE | np.uint64(n_wide)
            n_wide += UNARY_BLOCK_ROWS
        else:
            assert base == first_child[begin]
    assert len(wide) == n_wide


@given(sizes, st.integers(0, 3), st.integers(0, 2**32))
def test_damaged_tables_are_read_inside(sizes: list[int], low_bits: int, seed: int) -> None:
    tables = tables_of(first_children(sizes), low_bits)
    rng = np.random.default_rng(seed)
    for column in (tables.bits, tables.blocks, tables.wide):
        hit = rng.random(len(column)) < 0.3
        column[hit] = rng.integers(-(2**63), 2**63 - 1, hit.sum()).astype(column.dtype)
    found = all_children(tables, len(sizes))
    assert (found >= 0).all()
    assert (found[:, 0] <= found[:, 1]).all()
    assert (found <= sum(sizes)).all()


@given(st.lists(st.booleans(), min_size=1, max_size=500), st.data())
def test_the_nth_one(flags: list[bool], data: st.DataObject) -> None:
    bits = np.packbits(flags + [False] * (-len(flags) % 64), bitorder="little").view(np.uint64)
    at = data.draw(st.integers(0, len(flags) - 1))
    ones = [at, *(i for i in range(at + 1, len(flags)) if flags[i])]
    n = data.draw(st.integers(0, len(ones)))
    expected = ones[n] if n < len(ones) else 64 * len(bits)
    assert nth_one(bits, at, n, len(bits)) == expected
    assert next_one(bits, at, len(bits)) == nth_one(bits, at, 1, len(bits))


def test_a_search_ends_near_where_it_began() -> None:
    bits = np.zeros(10_000, np.uint64)
    bits[-1] = 1
    assert nth_one(bits, 100, 1, len(bits)) <= 100 + MAX_SPAN + 128


@njit
def count_ones(word: np.uint64) -> int:
    return popcount(word)


@given(st.integers(0, 2**64 - 1))
def test_ones_are_counted(word: int) -> None:
    assert count_ones(np.uint64(word)) == word.bit_count()


def test_low_bits_where_they_save() -> None:
    assert [best_low_bits(100, children) for children in (0, 100, 200, 400, 900)] == [0, 0, 0, 1, 3]
    with pytest.raises(ValueError, match="LevelLayout"):
        LevelLayout(rows=1, position_bits=1, child_bits=0, unary_words=-1)
