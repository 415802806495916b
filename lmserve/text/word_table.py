"""Words and their ids: an open-addressing hash table with linear probing.

The words lie one after the other in `word_bytes`; word i is word_bytes[word_offsets[i]:
word_offsets[i + 1]]. The slots are a power of two: `slots[hash & mask]`, or one that follows, holds
the word's id; an `EMPTY` one ends the search.

Numba keeps compiled kernels by the file of the kernel alone: who changes this file while developing
removes the `__pycache__` folders of the others that call it (`make clean`).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing, inlined
from lmserve.text.scanning import Bytes as Bytes
from lmserve.text.scanning import finish, load, mix

EMPTY = np.uint32(0xFFFFFFFF)
# Stands in for the id of a word outside the vocabulary, to tell it from a counted `<unk>`.
OOV = np.uint32(0xFFFFFFFF)

Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]


@borrowing
def hash_word(text: Bytes, begin: int, end: int) -> np.uint64:
    """64-bit hash of text[begin:end], eight bytes at a time; the same on every platform."""
    h = np.uint64(0)
    for i in range(begin, end, 8):
        h = mix(h, load(text, i, end))
    return finish(h, end - begin)


@borrowing
def equal_bytes(a: Bytes, a_begin: int, b: Bytes, b_begin: int, length: int) -> bool:
    """Whether a[a_begin:a_begin + length] and b[b_begin:b_begin + length] are the same bytes."""
    for i in range(0, length, 8):
        if load(a, a_begin + i, a_begin + length) != load(b, b_begin + i, b_begin + length):
            return False
    return True


@njit(cache=True, nogil=True)
def build_slots(word_offsets: Offsets, word_bytes: Bytes, size: int) -> Ids:
    """The slot table, uint32 [size], of distinct words; `size` is a power of two above V."""
    slots = np.full(size, EMPTY, np.uint32)
    mask = np.uint64(size - 1)
    for word in range(len(word_offsets) - 1):
        slot = hash_word(word_bytes, word_offsets[word], word_offsets[word + 1]) & mask
        while slots[slot] != EMPTY:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = word
    return slots


@inlined
def find_slot(
    text: Bytes, begin: int, end: int, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> np.uint64:
    """The slot of text[begin:end], or the empty slot where it belongs.

    Safe on damaged tables: it reads inside the arrays, and comes to an end.
    """
    mask = np.uint64(len(slots) - 1)
    slot = hash_word(text, begin, end) & mask
    for _ in range(len(slots)):
        word = slots[slot]
        if word >= len(word_offsets) - 1:
            return slot
        start, stop = word_offsets[word], word_offsets[word + 1]
        if (
            stop - start == end - begin
            and start >= 0
            and stop <= len(word_bytes)
            and equal_bytes(text, begin, word_bytes, start, end - begin)
        ):
            return slot
        slot = (slot + np.uint64(1)) & mask
    return slot


@inlined
def find_word(
    text: Bytes, begin: int, end: int, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> np.uint32:
    """The id of text[begin:end], or `OOV`; as safe as `find_slot`."""
    word = slots[find_slot(text, begin, end, word_offsets, word_bytes, slots)]
    return np.uint32(word) if word < len(word_offsets) - 1 else OOV
