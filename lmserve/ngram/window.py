"""One level of a window of words: ask for the memory that each needs next, then look there.

Of a large model nearly every look is a cache miss. What is looked for in level k depends on nothing
but what a word and the one before it were found to be in level k - 1, so all words of a window go
through a level together, and their misses overlap. See `lmserve.ngram.query`.

Fields are read in place, not by functions: Numba counts references to every array that is passed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing, dividing
from lmserve.ngram.bit_access import load_bits
from lmserve.ngram.layout import (
    BLOCK_ROWS,
    CHILD_BITS,
    DESCRIPTOR_COLUMNS,
    POSITION_BITS,
    ROW_BITS,
    ROWS,
    START_BIT,
    START_BLOCK,
    UNARY_WORDS,
)
from lmserve.ngram.packed import (
    Int64s,
    Tables,
    place_children,
    search,
)
from lmserve.ngram.unary_hits import place_unary
from lmserve.prefetching import prefetch
from lmserve.text.special_tokens import BOS, UNK
from lmserve.text.word_table import Ids, Offsets

Floats = npt.NDArray[np.float64]

# Rows this near the last one looked at are probably in the same or the next cache line.
_NEAR_ROWS = 4
# After so many jumps without coming near, keys are not evenly spread, and halving is quicker.
_JUMPS = 4
_LOW = np.uint64(0xFFFFFFFF)
# How far ahead words are asked for.
_WORDS_AHEAD = 12
# Stands in a window for the beginning of a sentence.
START = -1


class Window(NamedTuple):
    """Some words in a row, S of them, and what was found of them.

    Slot 0 is the last word of the window before. Level k's entry of slot s is at k S + s.

    Attributes:
        tokens: int64 [S], indices into the words to be scored, or `START`.
        matched: int64 [S], the longest n-gram that ends here, as far as is known.
        rows: int64 [n S], its row and those of its suffixes.
        begins: int64 [n S], their first children.
        sizes: int64 [n S], their numbers of children.
        slots: int64 [S], the slots of searches in progress; and of each
        keys: int64 [S], what is looked for,
        lows: int64 [S], the list's first row,
        lengths: int64 [S], its rows,
        middles: int64 [S], the row, counted from the first, to look at first,
        rows_per_key: float64 [S], how many rows a difference of keys of 1 is worth.
        far: int64 [S], the searches that go on at another place.
        hits: int64 [S], the slots whose search found something.
    """

    tokens: Int64s
    matched: Int64s
    rows: Int64s
    begins: Int64s
    sizes: Int64s
    slots: Int64s
    keys: Int64s
    lows: Int64s
    lengths: Int64s
    middles: Int64s
    rows_per_key: Floats
    far: Int64s
    hits: Int64s


@borrowing
def fill_window(
    tokens: Int64s, n: int, line_offsets: Offsets, line: int, at: np.int64
) -> tuple[int, int, np.int64]:
    """Takes the next words of some lines into a window, a `START` before each line.

    Args:
        tokens: int64 [S], filled from slot n on.
        n: the first slot.
        line_offsets: int64 [L + 1], where the words of each line begin.
        line: that comes next, L after the last,
        at: and its word, or `START`.

    Returns:
        The slot after the last; the next line; its word.
    """
    while n < len(tokens) and line < len(line_offsets) - 1:
        if at == START:
            tokens[n] = START
            at = line_offsets[line]
            n += 1
        elif at == line_offsets[line + 1]:
            line += 1
            at = np.int64(START)
        else:
            tokens[n] = at
            at += 1
            n += 1
    return n, line, at


@borrowing
def find_unigrams(ids: Ids, tables: Tables, bos: bool, w: Window, n: int) -> None:
    """Level 1 of slots 1 .. n - 1."""
    size = len(w.tokens)
    vocabulary = len(tables.log10_prob)
    first_child = tables.first_child
    rows_above = tables.levels[ROWS] if len(tables.levels) > 0 else np.int64(0)
    for s in range(1, n):
        ahead = w.tokens[min(s + _WORDS_AHEAD, n - 1)]
        if ahead >= 0:
            prefetch(first_child, np.int64(ids[ahead]))
        token = w.tokens[s]
        word = BOS if token < 0 else np.int64(ids[token])
        if word >= vocabulary:
            word = UNK
        w.matched[s] = 1 if token >= 0 or bos else 0
        w.rows[size + s] = word
        if rows_above > 0:
            begin = min(max(first_child[word], 0), rows_above)
            end = first_child[word + 1] if word + 1 < vocabulary else rows_above
            w.begins[size + s] = begin
            w.sizes[size + s] = min(max(end, begin), rows_above) - begin


@dividing
def ask(tables: Tables, w: Window, n: int, k: int) -> int:
    """Asks for the memory that the words of a window need in level k.

    Returns:
        The number of words for which there is something to look for; they are in `w.slots`.
    """
    levels, level = tables.levels, (k - 2) * DESCRIPTOR_COLUMNS
    start_bit, row_bits = levels[level + START_BIT], levels[level + ROW_BITS]
    size = len(w.tokens)
    lower, context = (k - 1) * size, (k - 2) * size
    pending = 0
    for s in range(1, n):
        if w.matched[s] != k - 1 or w.matched[s - 1] < k - 1:
            continue
        length = w.sizes[lower + s - 1]
        key, universe = w.rows[lower + s], np.int64(len(tables.log10_prob))
        if k > 2:
            # The list that held the word is what this one's positions count in.
            key -= w.begins[context + s - 1]
            universe = w.sizes[context + s - 1]
        if length == 0 or w.tokens[s] < 0:
            continue
        rows_per_key = np.float64(length) / np.float64(universe)
        middle = min(np.int64(np.float64(key) * rows_per_key), length - 1)
        w.slots[pending] = s
        w.keys[pending] = key
        w.lows[pending] = w.begins[lower + s - 1]
        w.lengths[pending] = length
        w.rows_per_key[pending] = rows_per_key
        w.middles[pending] = middle
        at = start_bit + (w.lows[pending] + middle) * row_bits
        # Evenly spread as keys are, the row is one of those around; most often in these lines.
        prefetch(tables.bits, (at - row_bits) >> 6)
        prefetch(tables.bits, (at + 3 * row_bits) >> 6)
        pending += 1
    return pending


@dividing
def find(tables: Tables, w: Window, pending: int, k: int) -> int:
    """Looks in level k for what was asked for, and asks for the hits' blocks of children.

    Returns:
        The number of slots where it was there, which are then in `w.hits`.
    """
    bits, levels, level = tables.bits, tables.levels, (k - 2) * DESCRIPTOR_COLUMNS
    start_bit, row_bits = np.uint64(levels[level + START_BIT]), np.uint64(levels[level + ROW_BITS])
    mask = (np.uint64(1) << np.uint64(levels[level + POSITION_BITS])) - np.uint64(1)
    start_block = levels[level + START_BLOCK]
    has_children = levels[level + CHILD_BITS] > 0
    size = len(w.tokens)
    hits = jumps = 0
    while pending > 0:
        far = 0
        for p in range(pending):
            i = p if jumps == 0 else w.far[p]
            key, last, middle = w.keys[i], w.lengths[i] - 1, w.middles[i]
            start = start_bit + np.uint64(w.lows[i]) * row_bits
            found = np.int64(load_bits(bits, start + np.uint64(middle) * row_bits) & mask)
            step = np.int64(np.float64(key - found) * w.rows_per_key[i])
            if step < -_NEAR_ROWS or step > _NEAR_ROWS:
                if jumps < _JUMPS:
                    # Its memory, too, is asked for while the others are looked at.
                    middle = min(max(middle + step, np.int64(0)), last)
                    prefetch(bits, np.int64((start + np.uint64(middle) * row_bits) >> np.uint64(6)))
                    w.middles[i] = middle
                    w.far[far] = i
                    far += 1
                    continue
                low = w.lows[i]
                row = search(tables, k, low, low + last + 1, key, np.int64(mask) + 1)
                middle = row - low
                found = key if row >= 0 else key + 1
            elif found < key:
                while found < key and middle < last:
                    middle += 1
                    found = np.int64(load_bits(bits, start + np.uint64(middle) * row_bits) & mask)
            else:
                while found > key and middle > 0:
                    middle -= 1
                    found = np.int64(load_bits(bits, start + np.uint64(middle) * row_bits) & mask)
            if found == key:
                s = w.slots[i]
                row = w.lows[i] + middle
                w.matched[s] = k
                w.rows[k * size + s] = row
                w.hits[hits] = s
                hits += 1
                if has_children:
                    prefetch(tables.blocks, start_block + row // BLOCK_ROWS)
        pending = far
        jumps += 1
    return hits


@njit(cache=True, nogil=True)
def place_hits(tables: Tables, w: Window, hits: int, k: int) -> None:
    """Finds the children of what was found in level k, below the last."""
    bits, blocks, wide = tables.bits, tables.blocks, tables.wide
    levels, level = tables.levels, (k - 2) * DESCRIPTOR_COLUMNS
    start_block = levels[level + START_BLOCK]
    row_bits, width = np.uint64(levels[level + ROW_BITS]), np.uint64(levels[level + CHILD_BITS])
    # Where the child offset of row 0 begins.
    start = np.uint64(levels[level + START_BIT]) + row_bits - width
    mask = (np.uint64(1) << width) - np.uint64(1)
    rows_above = levels[level + DESCRIPTOR_COLUMNS + ROWS]
    rows = levels[level + ROWS]
    at = k * len(w.tokens)
    if levels[level + UNARY_WORDS] > 0:
        place_unary(tables, k, at + w.hits[:hits], w.rows, w.begins, w.sizes)
        return
    for i in range(hits):
        s = at + w.hits[i]
        row = w.rows[s]
        bit = start + np.uint64(row) * row_bits
        offset = np.int64(load_bits(bits, bit) & mask)
        after = np.int64(load_bits(bits, bit + row_bits) & mask)
        block = start_block + (row >> 5)
        entry = blocks[block]
        if (row & 31) == 31 or row + 1 == rows or entry < 0 or blocks[block + 1] < 0:
            last = (row & 31) == 31 or row + 1 == rows
            begin, end = place_children(
                blocks, wide, block, row, offset, -1 if last else after, rows_above
            )
        else:
            begin = min(entry + offset, rows_above)
            end = min(max(entry + after, begin), rows_above)
        w.begins[s], w.sizes[s] = begin, end - begin
