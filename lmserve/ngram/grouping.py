"""Grouping equal 64-bit keys: `np.unique`, by radix sort."""

import numpy as np
import numpy.typing as npt
from numba import njit

Int64s = npt.NDArray[np.int64]

# Buckets of one pass: as many as can be written to at once without leaving the second-level cache.
_DIGIT_BITS = 11
_KEY_BITS = 63
_DIGITS = 1 << _DIGIT_BITS


@njit(cache=True, nogil=True)
def group(keys: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Finds the distinct keys.

    A least-significant-digit radix sort that passes over bits which no key has set: keys of two
    numbers side by side cost as many passes as the numbers have digits.

    Args:
        keys: int64 [N], none negative, fewer than 2^32.

    Returns:
        The distinct keys, sorted, int64 [U]; for each key its row among these, int64 [N]; how often
        each occurs, int64 [U].
    """
    ordered, origin = _radix_sort(keys)
    distinct = 0
    for i in range(len(ordered)):
        distinct += i == 0 or ordered[i] != ordered[i - 1]
    unique = np.empty(distinct, np.int64)
    counts = np.zeros(distinct, np.int64)
    rows = np.empty(len(keys), np.int64)
    row = -1
    for i in range(len(ordered)):
        if i == 0 or ordered[i] != ordered[i - 1]:
            row += 1
            unique[row] = ordered[i]
        counts[row] += 1
        rows[origin[i]] = row
    return unique, rows, counts


@njit(cache=True, nogil=True)
def _radix_sort(keys: Int64s) -> tuple[Int64s, npt.NDArray[np.uint32]]:
    """The keys sorted, int64 [N], and where each of them was, uint32 [N]."""
    used_bits = np.int64(0)
    for key in keys:
        used_bits |= key
    ordered, spare = keys.copy(), np.empty_like(keys)
    origin, spare_origin = np.arange(len(keys)).astype(np.uint32), np.empty(len(keys), np.uint32)
    shift = 0
    while shift < _KEY_BITS and used_bits >> shift:
        if not (used_bits >> shift) & 1:
            shift += 1
            continue
        starts = np.zeros(_DIGITS + 1, np.int64)
        for key in ordered:
            starts[((key >> shift) & (_DIGITS - 1)) + 1] += 1
        for digit in range(_DIGITS):
            starts[digit + 1] += starts[digit]
        for i in range(len(ordered)):
            digit = (ordered[i] >> shift) & (_DIGITS - 1)
            spare[starts[digit]] = ordered[i]
            spare_origin[starts[digit]] = origin[i]
            starts[digit] += 1
        ordered, spare = spare, ordered
        origin, spare_origin = spare_origin, origin
        shift += _DIGIT_BITS
    return ordered, origin
