"""What stands before an n-gram in the model's longer ones: a byte of its left word, if it is one.

Most n-grams were read once or always after the same word. So when a text has one of them after
another word, no longer n-gram of the model ends there, and none needs to be looked up to know it.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import inlined
from lmserve.ngram.packed import Int64s
from lmserve.ngram.packing import Uint64s

Uint8s = npt.NDArray[np.uint8]

# Of an n-gram with which no longer one ends; and of one before which stand words of several bytes.
NO_LEFT, MANY_LEFTS = np.uint8(0), np.uint8(255)


@inlined
def left_byte(word_hash: np.uint64) -> np.uint8:
    """A word's byte, 1 to 254, by its hash."""
    return np.uint8(np.uint64(1) + ((word_hash >> np.uint64(32)) * np.uint64(254) >> np.uint64(32)))


@njit(cache=True, nogil=True)
def bytes_of_words(hashes: Uint64s) -> Uint8s:
    """Those of words 0 .. V - 1, by their hashes: uint8 [V]."""
    found = np.empty(len(hashes), np.uint8)
    for word in range(len(hashes)):
        found[word] = left_byte(hashes[word])
    return found


@njit(cache=True, nogil=True)
def first_bytes(first_child: Int64s, below: Uint8s) -> Uint8s:
    """The bytes of the first words of a level's n-grams.

    Args:
        first_child: int64 [P + 1], where the children of the level below begin.
        below: uint8 [P], the same of the level below.

    Returns:
        uint8 [first_child[P]].
    """
    found = np.empty(first_child[-1], np.uint8)
    for parent in range(len(below)):
        found[first_child[parent] : first_child[parent + 1]] = below[parent]
    return found


@njit(cache=True, nogil=True)
def left_bytes(rows: int, suffixes: Int64s, firsts: Uint8s) -> Uint8s:
    """What stands before the n-grams of a level.

    Args:
        rows: P, of the level.
        suffixes: int64 [R], rows of the longer n-grams without their first words.
        firsts: uint8 [R], the bytes of these first words.

    Returns:
        uint8 [P]: a word's byte, `NO_LEFT` or `MANY_LEFTS`.
    """
    found = np.zeros(rows, np.uint8)
    for longer in range(len(suffixes)):
        row = suffixes[longer]
        if found[row] == NO_LEFT:
            found[row] = firsts[longer]
        elif found[row] != firsts[longer]:
            found[row] = MANY_LEFTS
    return found
