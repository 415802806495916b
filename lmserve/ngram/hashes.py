"""Hashes of n-grams of which each follows from another's in a step or two.

A word has a hash, 64 bits that look random. An n-gram's hash has its words' as digits, the last one
the lowest, modulo 2^64: hash(x1 .. xk) = hash(x1 .. x(k-1)) `RADIX` + hash(xk). So a child's comes
from its parent's; and from the hashes of a text up to each word those of all n-grams in it, by a
product and a difference (Karp and Rabin, "Efficient randomized pattern-matching algorithms", IBM
Journal of Research and Development 31, 1987).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import inlined
from lmserve.ngram.packed import Int64s
from lmserve.ngram.packing import Uint64s
from lmserve.text.word_table import Ids

RADIX = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@inlined
def scattered(h: np.uint64) -> np.uint64:
    """A word of which each bit depends on all of another's, and each is another's.

    From Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    h = (h ^ (h >> np.uint64(30))) * _FIRST
    h = (h ^ (h >> np.uint64(27))) * _SECOND
    return h ^ (h >> np.uint64(31))


@inlined
def word_hash(word: np.uint32, seed: np.uint64) -> np.uint64:
    """The hash of a word by its id; another seed gives others."""
    return scattered(np.uint64(word) * RADIX + seed)


@njit(cache=True, nogil=True)
def hash_children(hashes: Uint64s, first_child: Int64s, words: Ids, seed: np.uint64) -> Uint64s:
    """The hashes of a level's n-grams.

    Args:
        hashes: uint64 [R], of the level below.
        first_child: int64 [R + 1], where the children of its rows begin.
        words: uint32 [C], the n-grams' last words.
        seed: of the words' hashes.

    Returns:
        uint64 [C].
    """
    found = np.empty(len(words), np.uint64)
    for parent in range(len(hashes)):
        shifted = hashes[parent] * RADIX
        for child in range(first_child[parent], first_child[parent + 1]):
            found[child] = shifted + word_hash(words[child], seed)
    return found


@njit(cache=True, nogil=True)
def hash_words(words: int, seed: np.uint64) -> Uint64s:
    """The hashes of words 0 .. V - 1: uint64 [V]."""
    hashes = np.empty(words, np.uint64)
    for word in range(words):
        hashes[word] = word_hash(np.uint32(word), seed)
    return hashes


def radix_powers(order: int) -> npt.NDArray[np.uint64]:
    """`RADIX` to the powers 0 .. n, modulo 2^64: uint64 [n + 1]."""
    powers = [pow(int(RADIX), k, 1 << 64) for k in range(order + 1)]
    return np.array(powers, np.uint64)
