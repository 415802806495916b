"""The hash table of a growing vocabulary: each slot holds the beginning of its word.

A slot is two numbers, side by side in memory: the word's first eight bytes, and its length (the
lowest 32 bits of it) above its id. So a word of up to eight bytes, as most are, is told from all
others without a look at the words themselves; a longer one is compared with them only where
beginning and length agree.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing, inlined
from lmserve.text.scanning import Bytes, load
from lmserve.text.word_table import Offsets, equal_bytes, hash_word

Slots = npt.NDArray[np.uint64]

NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF)
ID_BITS = np.uint64(0xFFFFFFFF)


@borrowing
def keyed_entry(length: int, word: int) -> np.uint64:
    """The second number of a slot."""
    return np.uint64(length) << np.uint64(32) | np.uint64(word)


@njit(cache=True, nogil=True)
def build_keyed(word_offsets: Offsets, word_bytes: Bytes, size: int) -> Slots:
    """The slots, uint64 [size, 2], of distinct words; `size` is a power of two above V."""
    slots = np.full((size, 2), NOTHING, np.uint64)
    mask = np.uint64(size - 1)
    for word in range(len(word_offsets) - 1):
        begin, end = word_offsets[word], word_offsets[word + 1]
        slot = hash_word(word_bytes, begin, end) & mask
        while slots[slot, 1] != NOTHING:
            slot = (slot + np.uint64(1)) & mask
        slots[slot, 0] = load(word_bytes, begin, end)
        slots[slot, 1] = keyed_entry(end - begin, word)
    return slots


@inlined
def find_keyed(
    text: Bytes,
    begin: int,
    end: int,
    first: np.uint64,
    h: np.uint64,
    word_offsets: Offsets,
    word_bytes: Bytes,
    slots: Slots,
) -> np.uint64:
    """The slot of text[begin:end], or the empty one where it belongs.

    Args:
        text: with begin and end, the word.
        first: its first eight bytes, `load(text, begin, end)`.
        h: its hash, `hash_word(text, begin, end)`.
        word_offsets: int64 [V + 1], where each known word starts in `word_bytes`.
        word_bytes: uint8, the words one after the other.
        slots: uint64 [S, 2], not full.
    """
    mask = np.uint64(len(slots) - 1)
    length = end - begin
    low_length = np.uint64(length) & ID_BITS
    slot = h & mask
    while slots[slot, 1] != NOTHING:
        if slots[slot, 0] == first and slots[slot, 1] >> np.uint64(32) == low_length:
            if length <= 8:
                return slot
            word = slots[slot, 1] & ID_BITS
            if word_offsets[word + np.uint64(1)] - word_offsets[word] == length and equal_bytes(
                text, begin, word_bytes, word_offsets[word], length
            ):
                return slot
        slot = (slot + np.uint64(1)) & mask
    return slot
