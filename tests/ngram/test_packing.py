"""Packed rows against Python's unbounded integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.ngram.layout import Layout, LevelLayout, default_child_bits
from lmserve.ngram.packing import (
    WIDE,
    block_bases,
    pack_rows,
    place_wide,
    unpack_children,
    unpack_field,
)


def pack_plainly(level: LevelLayout, columns: list[np.ndarray]) -> list[int]:
    """The level's words: rows one after the other in one long integer."""
    whole = 0
    for row in reversed(range(level.rows)):
        packed, shift = 0, 0
        widths = (level.position_bits, level.prob_bits, level.backoff_bits, level.child_bits)
        for width, column in zip(widths, columns, strict=True):
            packed |= (int(column[row]) if width else 0) << shift
            shift += width
        whole = whole << level.row_bits | packed
    return [whole >> 64 * i & (1 << 64) - 1 for i in range(level.words)]


def random_columns(level: LevelLayout, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    widths = (level.position_bits, level.prob_bits, level.backoff_bits, level.child_bits)
    return [
        rng.integers(0, 1 << width, level.rows if width or i == 0 else 0).astype(np.uint32)
        for i, width in enumerate(widths)
    ]


def pack(bits: np.ndarray, start_word: int, level: LevelLayout, columns: list[np.ndarray]) -> None:
    widths = (level.position_bits, level.prob_bits, level.backoff_bits, level.child_bits)
    pack_rows(bits, start_word, *widths, *columns)


widths = st.integers(1, 32)


@given(st.integers(0, 200), st.integers(0, 32), widths, st.booleans(), widths, widths)
def test_rows_are_packed_and_unpacked(
    rows: int, position: int, prob: int, last: bool, backoff: int, child: int
) -> None:
    level = LevelLayout(
        rows=rows,
        position_bits=position,
        prob_bits=prob,
        backoff_bits=0 if last else backoff,
        child_bits=0 if last else child,
    )
    columns = random_columns(level, rows)
    bits = np.full(level.words + 3, 0xAAAAAAAAAAAAAAAA, np.uint64)
    pack(bits, 1, level, columns)
    assert bits[1:-2].tolist() == pack_plainly(level, columns)
    assert set(bits[[0, -2, -1]].tolist()) == {0xAAAAAAAAAAAAAAAA}
    at = 64
    for width, column in zip((position, prob, backoff, child), columns, strict=True):
        if len(column) and width:
            found = unpack_field(bits, at, level.row_bits, width, rows // 3, rows - rows // 3)
            assert found.tolist() == column[rows // 3 :].tolist()
        at += width


def test_ranges_that_begin_at_multiples_of_64_rows_can_be_packed_apart() -> None:
    level = LevelLayout(rows=1000, position_bits=13, child_bits=7)
    columns = random_columns(level, 1)
    whole = np.zeros(level.words, np.uint64)
    pack(whole, 0, level, columns)
    parts = np.zeros_like(whole)
    for begin, end in ((640, 1000), (0, 64), (64, 640)):
        part = [column[begin:end] for column in columns]
        pack(parts, begin // 64 * level.row_bits, level, part)
    assert (parts == whole).all()


@given(st.lists(st.integers(0, 9) | st.integers(0, 3000), max_size=150), st.integers(1, 12))
def test_blocks_of_first_children(children: list[int], child_bits: int) -> None:
    first_child = np.cumsum([5, *children]).astype(np.uint64)
    bases, offsets, wide = block_bases(first_child, child_bits)
    assert len(bases) == -(-len(children) // 32)
    for block, base in enumerate(bases.tolist()):
        rows = first_child[32 * block : 32 * block + 33].tolist()
        own = rows[:-1] if 32 * block + 32 > len(children) else rows[:32]
        if base & int(WIDE):
            at = base ^ int(WIDE)
            assert wide[at : at + len(own)].tolist() == own
            assert own[-1] - own[0] >= 1 << child_bits
            assert not offsets[32 * block : 32 * block + 32].any()
        else:
            assert base == own[0]
            assert own[-1] - own[0] < 1 << child_bits
    placed = place_wide(bases, 64)
    shifted = np.concatenate((np.zeros(64, np.uint64), wide))
    found = unpack_children(placed, shifted, offsets, 0)
    assert found.tolist() == first_child[:-1].tolist()


def test_levels_begin_at_whole_groups() -> None:
    first = LevelLayout(rows=65, position_bits=10, child_bits=6)
    last = LevelLayout(rows=1, position_bits=3, prob_bits=8, backoff_bits=0, child_bits=0)
    layout = Layout((first, last))
    assert layout.start_word(3) == 2 * first.row_bits == first.words
    assert layout.total_words == first.words + 11 + 1
    assert layout.total_blocks == layout.start_block(3) == 4
    assert layout.total_codes == 256
    assert default_child_bits(100, 100) == (32).bit_length() + 2


@pytest.mark.parametrize("changes", [{"position_bits": 33}, {"rows": -1}, {"backoff_bits": 0}])
def test_impossible_layouts(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="LevelLayout"):
        LevelLayout(**{"rows": 1, "position_bits": 1, "child_bits": 1, **changes})
