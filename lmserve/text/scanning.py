"""Reading text eight bytes at a time: the loads, the search for a word's end, the mixing of bits.

Eight bytes are one 64-bit number whose lowest byte comes first in the text, on every platform. The
tricks with its bits are those of "Hacker's Delight", chapter 6: `_zero_bytes` marks with 0x80 each
byte of a number that is zero; above the lowest mark there may be false ones, which nobody looks at.
"""

import numpy as np
import numpy.typing as npt

from lmserve.kernels import borrowing, inlined

Bytes = npt.NDArray[np.uint8]

_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_LINE_FEEDS = np.uint64(0x0A0A0A0A0A0A0A0A)
_SPACES = np.uint64(0x2020202020202020)
_TABS = np.uint64(0x0909090909090909)
# Tab (9) and carriage return (13) differ in this bit alone.
_NOT_FOURS = np.uint64(0xFBFBFBFBFBFBFBFB)
# Multiplied by 2^(8 i), its highest byte is i.
_INDICES = np.uint64(0x0001020304050607)


@borrowing
def signed(value: np.uint64) -> int:
    """A small number as a signed one: with those that are not, Numba would go on in floats."""
    return np.int64(value)  # type: ignore[return-value]


@borrowing
def _byte(text: Bytes, i: int, place: int) -> np.uint64:
    # An unsigned index is not checked for being negative.
    return np.uint64(text[np.uint64(i)]) << np.uint64(8 * place)


@borrowing
def load(text: Bytes, begin: int, end: int) -> np.uint64:
    """text[begin:begin + 8] as a number, bytes from `end` on as zeros; `begin` is not negative."""
    value = np.uint64(0)
    if begin + 8 > len(text):
        for i in range(begin, min(end, len(text))):
            value |= _byte(text, i, i - begin)
        return value
    # Written out, as only then LLVM sees that it is one load.
    low = _byte(text, begin, 0) | _byte(text, begin + 1, 1) | _byte(text, begin + 2, 2)
    middle = _byte(text, begin + 3, 3) | _byte(text, begin + 4, 4) | _byte(text, begin + 5, 5)
    value = low | middle | _byte(text, begin + 6, 6) | _byte(text, begin + 7, 7)
    if end - begin < 8:
        value &= (np.uint64(1) << np.uint64(8 * (end - begin))) - np.uint64(1)
    return value


@borrowing
def _zero_bytes(value: np.uint64) -> np.uint64:
    return (value - _ONES) & ~value & _HIGHS


@borrowing
def word_bytes_before_separator(value: np.uint64) -> tuple[int, np.uint64]:
    """How many of eight bytes come before the first space, tab, carriage return or line feed.

    Returns:
        Their number, 0 to 8; and `value` with zeros for all other bytes.
    """
    marks = (
        _zero_bytes(value ^ _SPACES)
        | _zero_bytes(value ^ _LINE_FEEDS)
        | _zero_bytes((value & _NOT_FOURS) ^ _TABS)
    )
    if marks == np.uint64(0):
        return 8, value
    first = (marks & (~marks + np.uint64(1))) >> np.uint64(7)
    return signed((first * _INDICES) >> np.uint64(56)), value & (first - np.uint64(1))


@borrowing
def mix(h: np.uint64, value: np.uint64) -> np.uint64:
    """Takes eight more bytes into a hash."""
    h = (h ^ value) * np.uint64(0x9E3779B97F4A7C15)
    return h ^ (h >> np.uint64(32))


@borrowing
def finish(h: np.uint64, length: int) -> np.uint64:
    """Takes a word's length into its hash and mixes all 64 bits, as Murmur3 ends."""
    h ^= np.uint64(length)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@inlined
def scan_word(text: Bytes, begin: int, n: int) -> tuple[int, np.uint64, np.uint64]:
    """The word that starts at `begin`, in one pass.

    Args:
        text: uint8 [B].
        begin: not negative.
        n: where the text ends, at most B: whatever comes from there on.

    Returns:
        The byte after it (`begin`, where there is none); its first eight bytes, zeros after a
        shorter word; its hash, which is that of `lmserve.text.word_table.hash_word`.
    """
    first = load(text, begin, n)
    length, first = word_bytes_before_separator(first)
    h = mix(np.uint64(0), first)
    end = begin + length
    while length == 8 and end < n:
        length, value = word_bytes_before_separator(load(text, end, n))
        if length > 0:
            h = mix(h, value)
        end += length
    # The zeros after the text look like bytes of a word.
    end = min(end, n)
    return end, first, finish(h, end - begin)
