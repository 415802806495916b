"""First children in unary: two to four bits a row, where an offset takes twice as many.

The first children of a level's rows rise from 0 to the number of rows above. Each is cut into its
`low_bits` lowest bits, which stand in its row, and the rest. Of the rests a vector of bits tells:
row r is the one at bit (first child >> low_bits) + r, for as many zeros as its rest says are before
it, and as many ones as there are rows before (Elias, "Efficient storage and retrieval by content
and address of static files", Journal of the ACM 21, 1974).

To find the one of a row, the ones from a block's first row on are counted, a word at a time. A
block in which that could take long is wide: its first children stand one by one, as in `packing`.
"""

import numpy as np
from numba import njit

from lmserve.bit_counting import popcount
from lmserve.kernels import borrowing, inlined
from lmserve.ngram.layout import UNARY_BLOCK_ROWS
from lmserve.ngram.packing import WIDE, Uint32s, Uint64s

Int = int | np.int64

# Bits from the one of a block's first row to that of its last, in a block that is not wide.
MAX_SPAN = 1023
_MAX_WORDS = (MAX_SPAN + 63) // 64 + 1


def best_low_bits(rows: int, children: int) -> int:
    """How many low bits of each first child to take apart for the fewest bits in all."""
    return min(range(33), key=lambda bits: rows * bits + (children >> bits))


def unary_words(rows: int, children: int, low_bits: int) -> int:
    """The length of the vector in words of 64 bits."""
    return -(-((children >> low_bits) + rows) // 64)


@njit(cache=True, nogil=True)
def pack_unary(
    first_child: Uint64s, low_bits: int, vector: Uint64s
) -> tuple[Uint64s, Uint32s, Uint64s]:
    """Splits the first children of a whole level.

    Args:
        first_child: uint64 [R + 1], rising from 0 to the number of rows above.
        low_bits: of each in its row, at most 32.
        vector: uint64 [`unary_words`], zeros; ones are set.

    Returns:
        bases, uint64 [ceil(R / 64)], the first child of each block's first row, or `WIDE` and the
        index in `wide` where those of its 64 rows stand; lows, uint32 [R]; wide, uint64.
    """
    rows = len(first_child) - 1
    blocks = (rows + UNARY_BLOCK_ROWS - 1) // UNARY_BLOCK_ROWS
    shift = np.uint64(low_bits)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    lows = np.empty(rows, np.uint32)
    for row in range(rows):
        lows[row] = first_child[row] & mask
        at = np.int64(first_child[row] >> shift) + row
        vector[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
    bases = np.empty(blocks, np.uint64)
    n_wide = 0
    for block in range(blocks):
        begin = block * UNARY_BLOCK_ROWS
        last = min(begin + UNARY_BLOCK_ROWS, rows) - 1
        bases[block] = first_child[begin]
        span = np.int64((first_child[last] >> shift) - (first_child[begin] >> shift))
        if span + last - begin > MAX_SPAN:
            bases[block] = WIDE | np.uint64(n_wide)
            n_wide += UNARY_BLOCK_ROWS
    wide = np.empty(n_wide, np.uint64)
    for block in range(blocks):
        if bases[block] & WIDE:
            at = np.int64(bases[block] ^ WIDE)
            for i in range(UNARY_BLOCK_ROWS):
                wide[at + i] = first_child[min(block * UNARY_BLOCK_ROWS + i, rows)]
    return bases, lows, wide


@njit(cache=True, nogil=True)
def unpack_unary(vector: Uint64s, lows: Uint32s, low_bits: int) -> Uint64s:
    """The first children of a whole level: uint64 [R].

    Args:
        vector: uint64, from `pack_unary`.
        lows: uint32 [R], the same.
        low_bits: width of these.
    """
    first_child = np.zeros(len(lows), np.uint64)
    row = 0
    for i in range(len(vector)):
        word = vector[i]
        while word != 0 and row < len(lows):
            rest = np.uint64(i * 64 + _lowest(word) - row)
            first_child[row] = (rest << np.uint64(low_bits)) | lows[row]
            word &= word - np.uint64(1)
            row += 1
    return first_child


@inlined
def nth_one(bits: Uint64s, at: Int, n: Int, end_word: Int) -> Int:
    """The bit of the n-th one above bit `at`; for n = 0 `at` itself.

    Args:
        bits: uint64.
        at: a bit below that of `end_word`.
        n: at least 0.
        end_word: nothing is read from here on, nor far above `at`: without enough ones before,
            which no whole table lacks, the answer is the bit where this ends.
    """
    if n == 0:
        return at
    word = at >> 6
    end = min(end_word, word + _MAX_WORDS)
    value = bits[word] & _above(at)
    while True:
        ones = popcount(value)
        if n <= ones:
            return (word << 6) + _select(value, n)
        n -= ones
        word += 1
        if word >= end:
            return word << 6
        value = bits[word]


@inlined
def next_one(bits: Uint64s, at: Int, end_word: Int) -> Int:
    """The bit of the first one above bit `at`; as `nth_one` for n = 1."""
    word = at >> 6
    end = min(end_word, word + _MAX_WORDS)
    value = bits[word] & _above(at)
    while value == 0:
        word += 1
        if word >= end:
            return word << 6
        value = bits[word]
    return (word << 6) + _lowest(value)


@borrowing
def _above(at: Int) -> np.uint64:
    """A mask of the bits of a word above bit at % 64; by two shifts, as there is none by 64."""
    return (~np.uint64(0) << np.uint64(at & 63)) << np.uint64(1)


@borrowing
def _lowest(word: np.uint64) -> int:
    """The bit of the lowest one of a word that has any."""
    return popcount(~word & (word - np.uint64(1)))


@borrowing
def _select(word: np.uint64, n: Int) -> Int:
    """The bit of the n-th one of a word that has so many; n from 1."""
    bit = 0
    width = 32
    while width > 0:
        low = popcount(word & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))
        if n > low:
            n -= low
            word >>= np.uint64(width)
            bit += width
        width >>= 1
    return bit
