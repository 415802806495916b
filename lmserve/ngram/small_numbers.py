"""Arrays in a file that lives for one stage, small numbers in a byte each.

Most counts and lengths are 1: a byte does for nearly all of them, and those that are larger lie
beside.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from lmserve.ngram.tables import as_numpy, open_batches, write_batches
from lmserve.text.word_table import Ids

Bytes = npt.NDArray[np.uint8]
_MARK = np.uint32(255)
_COLUMN = "bytes"


def save_numbers(path: Path, whole: Sequence[Ids], small: Sequence[Ids]) -> None:
    """Writes uint32 arrays: those of `whole` as they are, of `small` in a byte a number."""
    arrays = [*whole, *(part for numbers in small for part in _divide(numbers))]
    batches = [pa.record_batch([array.view(np.uint8)], [_COLUMN]) for array in arrays]
    write_batches(path, batches)


def open_numbers(path: Path, whole: int, small: int) -> list[Ids]:
    """The arrays that `save_numbers` wrote: `whole` of the first kind, `small` of the second."""
    reader = open_batches(path)
    batches = [as_numpy(reader.get_batch(b).column(0)) for b in range(whole + 3 * small)]
    arrays: list[Ids] = [batch.view(np.uint32) for batch in batches[:whole]]
    for b in range(whole, len(batches), 3):
        numbers = batches[b].astype(np.uint32)
        numbers[batches[b + 1].view(np.uint32)] = batches[b + 2].view(np.uint32)
        arrays.append(numbers)
    return arrays


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
