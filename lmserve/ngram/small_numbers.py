"""Arrays in a file that lives for one stage, small numbers in a byte each.

Most counts and lengths are 1: a byte does for nearly all of them, and those that are larger lie
beside.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numba import njit

from lmserve.ngram.arrays import Bytes, array_writer, open_arrays
from lmserve.text.word_table import Ids

_MARK = np.uint32(255)


def save_numbers(path: Path, whole: Iterable[Ids], small: Iterable[Ids]) -> None:
    """Writes uint32 arrays: those of `whole` as they are, of `small` in a byte a number."""
    with array_writer(path) as write:
        for numbers in whole:
            write(numbers)
        for numbers in small:
            for part in _divide(numbers):
                write(part)


def open_numbers(path: Path, whole: int) -> tuple[list[Ids], list[Ids]]:
    """The arrays that `save_numbers` wrote: `whole` of the first kind, and those of the second."""
    arrays = open_arrays(path)
    small: list[Ids] = []
    for b in range(whole, len(arrays), 3):
        numbers = arrays[b].astype(np.uint32)
        numbers[arrays[b + 1].view(np.uint32)] = arrays[b + 2].view(np.uint32)
        small.append(numbers)
    return [array.view(np.uint32) for array in arrays[:whole]], small


@njit(cache=True, nogil=True)
def _divide(numbers: Ids) -> tuple[Bytes, Ids, Ids]:
    """A byte for each number, 255 for 255 and more; which these are; what they are."""
    small = np.empty(len(numbers), np.uint8)
    n_large = 0
    for i in range(len(numbers)):
        small[i] = min(numbers[i], _MARK)
        n_large += numbers[i] >= _MARK
    index = np.empty(n_large, np.uint32)
    value = np.empty(n_large, np.uint32)
    n_large = 0
    for i in range(len(numbers)):
        if small[i] == _MARK:
            index[n_large] = i
            value[n_large] = numbers[i]
            n_large += 1
    return small, index, value


@njit(cache=True, nogil=True)
def lengths(ends: Ids) -> Ids:
    """How long each range is, of ranges that follow one another: uint32 [N]."""
    result = np.empty_like(ends)
    begin = np.uint32(0)
    for i in range(len(ends)):
        result[i] = ends[i] - begin
        begin = ends[i]
    return result
