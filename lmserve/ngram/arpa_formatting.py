"""Kernels that write the lines of ARPA text."""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing
from lmserve.text.word_table import Bytes, Ids, Offsets

Float32s = npt.NDArray[np.float32]

# The longest number: sign, 9 digits, point, exponent of 4 characters; and those around it.
_NUMBER_BYTES = 24
_TAB, _NEWLINE, _SPACE, _MINUS, _POINT, _ZERO, _EXPONENT = 9, 10, 32, 45, 46, 48, 101


@njit(cache=True, nogil=True)
def format_lines(
    ids: Ids, probs: Float32s, backoffs: Float32s, word_offsets: Offsets, word_bytes: Bytes
) -> Bytes:
    """Lines `log10_prob TAB word ... word [TAB log10_backoff]`, as bytes, uint8.

    Args:
        ids: uint32 [N, k].
        probs: float32 [N].
        backoffs: float32 [N], NaN for none.
        word_offsets: int64 [V + 1], where each word starts in `word_bytes`.
        word_bytes: uint8.
    """
    n, k = ids.shape
    size = n * 2 * _NUMBER_BYTES + n * (k + 1)
    for i in range(n):
        for j in range(k):
            size += word_offsets[ids[i, j] + 1] - word_offsets[ids[i, j]]
    text = np.empty(size, np.uint8)
    at = 0
    for i in range(n):
        at = format_number(text, at, probs[i])
        for j in range(k):
            text[at] = _SPACE if j else _TAB
            at += 1
            for source in range(word_offsets[ids[i, j]], word_offsets[ids[i, j] + 1]):
                text[at] = word_bytes[source]
                at += 1
        if not np.isnan(backoffs[i]):
            text[at] = _TAB
            at = format_number(text, at + 1, backoffs[i])
        text[at] = _NEWLINE
        at += 1
    return text[:at]


@borrowing
def format_number(text: Bytes, at: int, value: np.float32) -> int:
    """Writes a float32 at text[at:] in the fewest of 6 to 9 digits that read back as the same.

    Minus infinity becomes -99, which ARPA's readers take for probability 0.

    Returns:
        The byte after it.
    """
    if value == -np.inf:
        value = np.float32(-99)
    magnitude = np.float64(abs(value))
    if value < 0:
        text[at] = _MINUS
        at += 1
    if magnitude == 0:
        text[at] = _ZERO
        return at + 1
    exponent = int(np.floor(np.log10(magnitude)))
    mantissa = 0
    for digits in range(6, 10):
        mantissa = int(np.rint(_scale(magnitude, digits - 1 - exponent)))
        shift = exponent - digits + 1
        if np.float32(_scale(np.float64(mantissa), shift)) == abs(value):
            break
    while mantissa % 10 == 0:
        mantissa //= 10
        shift += 1
    length = 1
    while 10**length <= mantissa:
        length += 1
    # The number is mantissa * 10^shift; its point stands `before` digits from the left.
    before = length + shift
    scientific = before < -4 or shift > 3
    if scientific:
        before = 1
    if before <= 0:
        text[at] = _ZERO
        text[at + 1] = _POINT
        at += 2
        for _ in range(-before):
            text[at] = _ZERO
            at += 1
    for i in range(length):
        if i == before and i > 0:
            text[at] = _POINT
            at += 1
        text[at] = _ZERO + (mantissa // 10 ** (length - 1 - i)) % 10
        at += 1
    if not scientific:
        for _ in range(before - length):
            text[at] = _ZERO
            at += 1
        return at
    power = length + shift - 1
    text[at] = _EXPONENT
    at += 1
    if power < 0:
        text[at] = _MINUS
        at += 1
    text[at] = _ZERO + abs(power) // 10
    text[at + 1] = _ZERO + abs(power) % 10
    return at + 2


@borrowing
def _scale(value: float, power: int) -> float:
    """The product value * 10^power, rounded once for powers up to 22, as `parse_number` does."""
    if power < 0:
        return value / 10.0 ** (-power)
    return value * 10.0**power
