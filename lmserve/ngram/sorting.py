"""Sorting: records by radix, most significant bits first; short lists of words by what is cheapest.

The first passes leave groups that fit the cache; what is left of most of them is a handful of
records, each put where as many others are less.
"""

import numpy as np
from numba import njit

from lmserve.kernels import borrowing
from lmserve.ngram.records import Records
from lmserve.text.word_table import Ids, Offsets

# Groups of no more than this are sorted by comparison; measured on books, 24 to 64 are alike.
_FEW = 48
_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS
# A list of at least so many words is sorted with digits so wide that two or three passes suffice.
_MANY_WORDS = 2048


@njit(cache=True, nogil=True)
def sort_records(records: Records, spare: Records) -> None:
    """Sorts rows by their first column, then their second, and so on, in place.

    Args:
        records: uint64 [N, C].
        spare: uint64 [N, C], overwritten.
    """
    n = len(records)
    # Segments still to be sorted: first row, end, column to look at, whether they lie in `spare`.
    segments = np.empty((4 * _DIGITS, 4), np.int64)
    segments[0, :] = 0
    segments[0, 1] = n
    waiting = 1
    ends = np.empty(_DIGITS + 1, np.int64)
    aside = np.empty((2, _FEW), np.uint64)
    while waiting > 0:
        waiting -= 1
        begin, end = segments[waiting, 0], segments[waiting, 1]
        column, in_spare = segments[waiting, 2], segments[waiting, 3]
        source = spare if in_spare else records
        target = records if in_spare else spare
        differing = np.uint64(0)
        if end - begin > _FEW:
            differing, column = _differing_bits(source, begin, end, column)
        if differing == 0:
            if in_spare:
                _copy(source, target, begin, end)
            if end - begin <= _FEW:
                _sort_few(records, records, begin, end, aside)
            continue
        digit_bits = min(max(_bit_length(np.uint64(end - begin)) - 1, 2), _DIGIT_BITS)
        shift = np.uint64(max(_bit_length(differing) - digit_bits, 0))
        digits = 1 << digit_bits
        _place(source, target, begin, end, column, shift, ends[: digits + 1])
        if waiting + _DIGITS > len(segments):
            segments = np.concatenate((segments, np.empty_like(segments)))
        first = begin
        for digit in range(digits):
            last = ends[digit]
            if last - first > _FEW:
                segments[waiting, 0] = first
                segments[waiting, 1] = last
                segments[waiting, 2] = column
                segments[waiting, 3] = 1 - in_spare
                waiting += 1
            elif last > first:
                _sort_few(target, records, first, last, aside)
            first = last


@borrowing
def _differing_bits(rows: Records, begin: int, end: int, column: int) -> tuple[np.uint64, int]:
    """The bits of the first column in which not all rows agree, and that column; 0 for none."""
    differing = np.uint64(0)
    for c in range(column, rows.shape[1]):
        for i in range(begin + 1, end):
            differing |= rows[i, c] ^ rows[begin, c]
        if differing != 0:
            return differing, c
    return differing, rows.shape[1]


@borrowing
def _bit_length(x: np.uint64) -> int:
    length = 0
    while x != 0:
        x >>= np.uint64(1)
        length += 1
    return length


@borrowing
def _copy(source: Records, target: Records, begin: int, end: int) -> None:
    for i in range(begin, end):
        for c in range(source.shape[1]):
            target[i, c] = source[i, c]


@borrowing
def _place(
    source: Records,
    target: Records,
    begin: int,
    end: int,
    column: int,
    shift: np.uint64,
    ends: Offsets,
) -> None:
    """Moves rows to their digit's place; `ends` then tells where each digit's rows end."""
    ends[:] = 0
    mask = np.uint64(len(ends) - 2)
    first, last, at = np.uint64(begin), np.uint64(end), np.uint64(column)
    for i in range(first, last):
        ends[((source[i, at] >> shift) & mask) + np.uint64(1)] += 1
    ends[0] = begin
    for digit in range(len(ends) - 1):
        ends[digit + 1] += ends[digit]
    if source.shape[1] == 2:
        for i in range(first, last):
            digit = (source[i, at] >> shift) & mask
            row = np.uint64(ends[digit])
            ends[digit] = row + np.uint64(1)
            target[row, 0] = source[i, 0]
            target[row, 1] = source[i, 1]
        return
    for i in range(begin, end):
        digit = (source[i, column] >> shift) & mask
        row = ends[digit]
        ends[digit] = row + 1
        for c in range(source.shape[1]):
            target[row, c] = source[i, c]


@borrowing
def _sort_few(source: Records, target: Records, begin: int, end: int, aside: Records) -> None:
    """Sorts no more than `_FEW` rows into `target`, which may be `source`.

    Args:
        source: uint64 [N, C].
        target: uint64 [N, C].
        begin: first row.
        end: row after the last.
        aside: uint64 [2, _FEW], overwritten.
    """
    if source.shape[1] == 2:
        _rank(source, target, begin, end, aside)
    else:
        _insert(source, target, begin, end)


@borrowing
def _rank(source: Records, target: Records, begin: int, end: int, aside: Records) -> None:
    """Sorts rows of two columns: each goes where as many are less, or are equal and before it.

    How many that are is a sum, for which nobody has to guess how a comparison will end.
    """
    # Unsigned: of signed indices Numba looks whether they are negative.
    first, n, one = np.uint64(begin), np.uint64(end - begin), np.uint64(1)
    if n == one:
        target[first, 0], target[first, 1] = source[first, 0], source[first, 1]
        return
    high, low = aside[0], aside[1]
    for i in range(n):
        high[i], low[i] = source[first + i, 0], source[first + i, 1]
    for i in range(n):
        this_high, this_low = high[i], low[i]
        row = first
        for j in range(i):
            row += np.uint64(
                (high[j] < this_high) | ((high[j] == this_high) & (low[j] <= this_low))
            )
        for j in range(i + one, n):
            row += np.uint64((high[j] < this_high) | ((high[j] == this_high) & (low[j] < this_low)))
        target[row, 0], target[row, 1] = this_high, this_low


@borrowing
def _insert(source: Records, target: Records, begin: int, end: int) -> None:
    """Sorts a few rows by insertion."""
    for i in range(begin, end):
        for c in range(source.shape[1]):
            target[i, c] = source[i, c]
        j = i
        while j > begin and _exchange(target, j):
            j -= 1


@borrowing
def _exchange(rows: Records, j: int) -> bool:
    """Puts row j before the row above where it is less, and tells whether."""
    columns = rows.shape[1]
    c = 0
    while c < columns and rows[j, c] == rows[j - 1, c]:
        c += 1
    if c == columns or rows[j, c] > rows[j - 1, c]:
        return False
    for k in range(c, columns):
        rows[j, k], rows[j - 1, k] = rows[j - 1, k], rows[j, k]
    return True


@njit(cache=True, nogil=True)
def sort_words(words: Ids, begin: int, end: int, spare: Ids) -> None:
    """Sorts words[begin:end] in place.

    Args:
        words: uint32.
        begin: first row.
        end: row after the last.
        spare: uint32 [end - begin or more], overwritten.
    """
    if end - begin <= _FEW:
        for i in range(begin + 1, end):
            word = words[i]
            j = i
            while j > begin and words[j - 1] > word:
                words[j] = words[j - 1]
                j -= 1
            words[j] = word
        return
    used = np.uint32(0)
    for i in range(begin, end):
        used |= words[i]
    digit_bits = 8 if end - begin < _MANY_WORDS else 11
    ends = np.empty((1 << digit_bits) + 1, np.int64)
    source, target = words[begin:end], spare[: end - begin]
    for shift in range(0, _bit_length(np.uint64(used)), digit_bits):
        _place_words(source, target, np.uint32(shift), np.uint32((1 << digit_bits) - 1), ends)
        source, target = target, source
    passes = -(-_bit_length(np.uint64(used)) // digit_bits)
    if passes % 2 == 1:
        # Numba takes seconds to compile an assignment of slices.
        for i in range(end - begin):
            words[begin + i] = spare[i]


@borrowing
def _place_words(
    source: Ids, target: Ids, shift: np.uint32, mask: np.uint32, ends: Offsets
) -> None:
    ends[:] = 0
    for word in source:
        ends[((word >> shift) & mask) + np.uint32(1)] += 1
    for digit in range(mask):
        ends[digit + 1] += ends[digit]
    for word in source:
        digit = (word >> shift) & mask
        target[ends[digit]] = word
        ends[digit] += 1
