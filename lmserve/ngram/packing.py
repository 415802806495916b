"""Packing: rows of plain columns -> groups of bits, and back.

Rows of one level can be packed in ranges that begin at multiples of 64 rows, in any order and by
several workers: every range writes whole words, and no two the same.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing
from lmserve.ngram.layout import BLOCK_ROWS, GROUP_ROWS

Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]

# Set in a block's entry whose children's rows lie one by one in `wide-blocks`.
WIDE = np.uint64(1 << 63)


@borrowing
def pack_rows(
    bits: Uint64s,
    start_word: int,
    position_bits: int,
    prob_bits: int,
    backoff_bits: int,
    child_bits: int,
    positions: Uint32s,
    probs: Uint32s,
    backoffs: Uint32s,
    child_offsets: Uint32s,
) -> None:
    """Packs R rows that begin at a multiple of 64 rows of their level.

    Overwrites bits[start_word : start_word + ceil(R / 64) * row_bits]; what is left of the last
    group becomes zero. Every value must fit into its field: nothing is masked.

    Args:
        bits: uint64, written to.
        start_word: where the first row goes: the level's start, plus row_bits words for every 64
            rows before.
        position_bits: and so on: widths, at most 32 each.
        positions: uint32 [R].
        probs: uint32 [R], the bits of a float32 (`.view(np.uint32)`), or codes.
        backoffs: uint32 [R], the same; anything of length 0 where backoff_bits is 0.
        child_offsets: uint32 [R], from `block_bases`, or the low bits from `unary.pack_unary`; of
            length 0 in the last level.
    """
    low_bits = position_bits + prob_bits
    high_bits = backoff_bits + child_bits
    accumulated = np.uint64(0)
    filled = 0
    word = start_word
    for row in range(len(positions)):
        low = np.uint64(positions[row]) | (np.uint64(probs[row]) << np.uint64(position_bits))
        accumulated |= low << np.uint64(filled)
        filled += low_bits
        if filled >= 64:
            bits[word] = accumulated
            word += 1
            filled -= 64
            accumulated = low >> np.uint64(low_bits - filled) if filled > 0 else np.uint64(0)
        if high_bits > 0:
            high = np.uint64(backoffs[row]) | (
                np.uint64(child_offsets[row]) << np.uint64(backoff_bits)
            )
            accumulated |= high << np.uint64(filled)
            filled += high_bits
            if filled >= 64:
                bits[word] = accumulated
                word += 1
                filled -= 64
                accumulated = high >> np.uint64(high_bits - filled) if filled > 0 else np.uint64(0)
    groups = (len(positions) + GROUP_ROWS - 1) // GROUP_ROWS
    end = start_word + groups * (low_bits + high_bits)
    while word < end:
        bits[word] = accumulated
        accumulated = np.uint64(0)
        word += 1


@njit(cache=True, nogil=True)
def block_bases(first_child: Uint64s, child_bits: int) -> tuple[Uint64s, Uint32s, Uint64s]:
    """Splits the rows of first children into a base for every 32 and offsets from it.

    Args:
        first_child: uint64 [R + 1], of rows that begin at a multiple of 32 of their level, rows of
            the level above; the last is where the last row's children end.
        child_bits: width of an offset.

    Returns:
        bases, uint64 [ceil(R / 32)]; offsets, uint32 [R]; wide, uint64 [32 x wide blocks]. A block
        with an offset that does not fit is wide: its base is `WIDE` and the index in `wide` where
        its 32 first children stand, and its offsets are 0. Who puts several ranges together adds
        to this index what `wide` held before (`place_wide`), and closes each level with a base
        that is the number of rows above.
    """
    rows = len(first_child) - 1
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    limit = np.uint64(1) << np.uint64(child_bits)
    bases = np.empty(blocks, np.uint64)
    offsets = np.empty(rows, np.uint32)
    n_wide = 0
    for block in range(blocks):
        begin = block * BLOCK_ROWS
        end = min(begin + BLOCK_ROWS, rows)
        base = first_child[begin]
        bases[block] = base
        if first_child[end - 1] - base >= limit:
            n_wide += 1
        for row in range(begin, end):
            offsets[row] = first_child[row] - base
    wide = np.empty(n_wide * BLOCK_ROWS, np.uint64)
    n_wide = 0
    for block in range(blocks):
        begin = block * BLOCK_ROWS
        end = min(begin + BLOCK_ROWS, rows)
        if first_child[end - 1] - bases[block] < limit:
            continue
        for i in range(BLOCK_ROWS):
            wide[n_wide + i] = first_child[min(begin + i, rows)]
        offsets[begin:end] = 0
        bases[block] = WIDE | np.uint64(n_wide)
        n_wide += BLOCK_ROWS
    return bases, offsets, wide


def place_wide(bases: Uint64s, wide_before: int) -> Uint64s:
    """`bases` of a range for a `wide` that already holds `wide_before` entries: uint64."""
    return np.where(bases & WIDE, bases + np.uint64(wide_before), bases)


@njit(cache=True, nogil=True)
def unpack_field(
    bits: Uint64s, start_bit: int, row_bits: int, field_bits: int, first_row: int, rows: int
) -> Uint32s:
    """One field of consecutive rows: uint32 [rows].

    Args:
        bits: uint64, with one word after the last row's.
        start_bit: of the level, plus the bits before the field in a row.
        row_bits: width of a row.
        field_bits: width of the field, at most 32.
        first_row: the first of the rows, counted from the level's start.
        rows: how many.
    """
    values = np.empty(rows, np.uint32)
    mask = (np.uint64(1) << np.uint64(field_bits)) - np.uint64(1)
    at = start_bit + first_row * row_bits
    for row in range(rows):
        word = at >> 6
        shift = np.uint64(at & 63)
        value = (bits[word] >> shift) | (
            (bits[word + 1] << np.uint64(1)) << (np.uint64(63) - shift)
        )
        values[row] = value & mask
        at += row_bits
    return values


@njit(cache=True, nogil=True)
def unpack_children(bases: Uint64s, wide: Uint64s, offsets: Uint32s, first_row: int) -> Uint64s:
    """The first child of consecutive rows: uint64 [R].

    Args:
        bases: uint64, of the whole level.
        wide: uint64, of the whole model.
        offsets: uint32 [R], the rows' field child_offset.
        first_row: the first of the rows, counted from the level's start.
    """
    first_child = np.empty(len(offsets), np.uint64)
    for i in range(len(offsets)):
        row = first_row + i
        base = bases[row // BLOCK_ROWS]
        if base & WIDE:
            at = np.int64(base ^ WIDE) + row % BLOCK_ROWS
            first_child[i] = wide[at] if at < len(wide) else np.uint64(0)
        else:
            first_child[i] = base + np.uint64(offsets[i])
    return first_child
