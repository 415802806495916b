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

EMPTY = np.uint32(0xFFFFFFFF)
# Stands in for the id of a word outside the vocabulary, to tell it from a counted `<unk>`.
OOV = np.uint32(0xFFFFFFFF)

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def hash_word(text: Bytes, begin: int, end: int) -> np.uint64:
    """64-bit FNV-1a of text[begin:end], its bits then mixed by Murmur3's finaliser."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(begin, end):
        h = (h ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(cache=True, nogil=True)
def _equal(a: Bytes, a_begin: int, b: Bytes, b_begin: int, length: int) -> bool:
    for i in range(length):
        if a[a_begin + i] != b[b_begin + i]:
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


@njit(cache=True, nogil=True)
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
            and _equal(text, begin, word_bytes, start, end - begin)
        ):
            return slot
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def find_word(
    text: Bytes, begin: int, end: int, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> np.uint32:
    """The id of text[begin:end], or `OOV`; as safe as `find_slot`."""
    word = slots[find_slot(text, begin, end, word_offsets, word_bytes, slots)]
    return np.uint32(word) if word < len(word_offsets) - 1 else OOV


@njit(cache=True, nogil=True)
def append_word(
    word: Bytes, word_bytes: Bytes, word_offsets: Offsets, counts: Offsets, n_words: int
) -> tuple[Bytes, Offsets, Offsets]:
    """Writes word number `n_words` into the tables, doubling those that are full."""
    start = word_offsets[n_words]
    end = start + len(word)
    if end > len(word_bytes):
        word_bytes = np.concatenate((word_bytes, np.empty(end, np.uint8)))
    if n_words + 1 >= len(word_offsets):
        word_offsets = np.concatenate((word_offsets, np.empty(n_words, np.int64)))
        counts = np.concatenate((counts, np.zeros(n_words, np.int64)))
    word_bytes[start:end] = word
    word_offsets[n_words + 1] = end
    return word_bytes, word_offsets, counts
