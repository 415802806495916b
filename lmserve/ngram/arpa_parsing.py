"""Kernels that read the lines of ARPA text: `log10_prob word ... word [log10_backoff]`."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from lmserve.kernels import borrowing
from lmserve.ngram.tables import binary_column
from lmserve.text.word_table import OOV, Bytes, Ids, Offsets, find_word

Float32s = npt.NDArray[np.float32]

# What can be wrong with a line.
FINE, NO_NUMBER, NOT_A_NUMBER, POSITIVE, FEW_WORDS, UNKNOWN_WORD, MANY_FIELDS = range(7)

# ARPA has no minus infinity; its writers put -99 for probability 0.
LOG10_ZERO = -99.0
# Beyond this many digits a number's value no longer changes.
_MAX_DIGITS = 18


@borrowing
def _is_space(byte: int) -> bool:
    return byte == 32 or byte == 9 or byte == 13


@borrowing
def _next_field(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Begin and end of the field after `at`; empty at the line's end."""
    while at < end and _is_space(text[at]):
        at += 1
    begin = at
    while at < end and not _is_space(text[at]):
        at += 1
    return begin, at


@borrowing
def parse_number(text: Bytes, begin: int, end: int) -> tuple[bool, float]:
    """Whether text[begin:end] is a decimal number or an infinity, and which."""
    at = begin
    negative = at < end and text[at] == 45
    if at < end and (text[at] == 45 or text[at] == 43):
        at += 1
    if end - at == 3 and (text[at] | 32) == 105 and (text[at + 1] | 32) == 110:
        return (text[at + 2] | 32) == 102, -np.inf if negative else np.inf
    mantissa = 0
    digits = 0
    exponent = 0
    fraction = False
    any_digit = False
    while at < end and (48 <= text[at] <= 57 or (text[at] == 46 and not fraction)):
        if text[at] == 46:
            fraction = True
        else:
            any_digit = True
            if digits < _MAX_DIGITS:
                mantissa = 10 * mantissa + (text[at] - 48)
                digits += mantissa > 0
                exponent -= fraction
            else:
                exponent += not fraction
        at += 1
    if not any_digit:
        return False, 0.0
    if at < end and (text[at] | 32) == 101:
        at += 1
        down = at < end and text[at] == 45
        if at < end and (text[at] == 45 or text[at] == 43):
            at += 1
        if at == end:
            return False, 0.0
        power = 0
        while at < end and 48 <= text[at] <= 57:
            power = min(10 * power + (text[at] - 48), 100_000)
            at += 1
        exponent += -power if down else power
    value = np.float64(mantissa)
    # A power of ten up to 22 is exact in float64, and one operation then rounds once.
    if exponent < -22 or exponent > 22:
        value = value * 10.0**exponent
    elif exponent < 0:
        value = value / 10.0 ** (-exponent)
    else:
        value = value * 10.0**exponent
    return at == end, -value if negative else value


@borrowing
def _log10(value: float) -> np.float32:
    return np.float32(-np.inf) if value <= LOG10_ZERO else np.float32(value)


@borrowing
def count_lines(text: Bytes) -> int:
    """Lines that are not blank."""
    lines = 0
    blank = True
    for byte in text:
        if byte == 10:
            lines += not blank
            blank = True
        elif not _is_space(byte):
            blank = False
    return lines + (not blank)


@njit(cache=True, nogil=True)
def parse_unigrams(
    text: Bytes,
) -> tuple[int, int, Offsets, Offsets, Float32s, Float32s]:
    """Reads complete lines of order 1.

    Returns:
        What is wrong, or `FINE`; the byte where the wrong line begins; begins and ends of the words
        in `text`, int64 [R]; log10 probabilities, float32 [R]; log10 backoffs, float32 [R], 0 where
        there is none.
    """
    rows = count_lines(text)
    begins, ends = np.empty(rows, np.int64), np.empty(rows, np.int64)
    probs, backoffs = np.empty(rows, np.float32), np.zeros(rows, np.float32)
    row = 0
    at = 0
    while at < len(text):
        line = at
        end, stop, wrong, prob = _begin_line(text, line)
        at = end + 1
        if stop == line:
            continue
        if wrong:
            return wrong, line, begins, ends, probs, backoffs
        begins[row], ends[row] = _next_field(text, stop, end)
        if begins[row] == ends[row]:
            return FEW_WORDS, line, begins, ends, probs, backoffs
        probs[row] = prob
        wrong, backoff = _check_backoff(text, ends[row], end)
        if wrong:
            return wrong, line, begins, ends, probs, backoffs
        backoffs[row] = backoff
        row += 1
    return FINE, 0, begins, ends, probs, backoffs


@njit(cache=True, nogil=True)
def parse_ngrams(
    text: Bytes, k: int, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> tuple[int, int, Ids, Float32s, Float32s]:
    """Reads complete lines of order k; the words' table as in `find_word`.

    Returns:
        What is wrong, or `FINE`; the byte where the wrong line begins; word ids, uint32 [R, k];
        log10 probabilities and backoffs as in `parse_unigrams`.
    """
    rows = count_lines(text)
    ids = np.empty((rows, k), np.uint32)
    probs, backoffs = np.empty(rows, np.float32), np.zeros(rows, np.float32)
    row = 0
    at = 0
    while at < len(text):
        line = at
        end, stop, wrong, prob = _begin_line(text, line)
        at = end + 1
        if stop == line:
            continue
        if wrong:
            return wrong, line, ids, probs, backoffs
        probs[row] = prob
        for i in range(k):
            begin, stop = _next_field(text, stop, end)
            if begin == stop:
                return FEW_WORDS, line, ids, probs, backoffs
            word = find_word(text, begin, stop, word_offsets, word_bytes, slots)
            if word == OOV:
                if not is_unk(text, begin, stop):
                    return UNKNOWN_WORD, line, ids, probs, backoffs
                word = np.uint32(0)
            ids[row, i] = word
        wrong, backoff = _check_backoff(text, stop, end)
        if wrong:
            return wrong, line, ids, probs, backoffs
        backoffs[row] = backoff
        row += 1
    return FINE, 0, ids, probs, backoffs


@borrowing
def is_unk(text: Bytes, begin: int, end: int) -> bool:
    """Whether this is `<UNK>`, as some write `<unk>`."""
    return (
        end - begin == 5
        and text[begin] == 60
        and text[begin + 1] == 85
        and text[begin + 2] == 78
        and text[begin + 3] == 75
        and text[begin + 4] == 62
    )


@borrowing
def _begin_line(text: Bytes, line: int) -> tuple[int, int, int, np.float32]:
    """Looks at the line that begins at byte `line`, up to its probability.

    Returns:
        Where the line ends; where its first field ends, `line` itself if it is blank; what is wrong
        with the log10 probability there, or `FINE`; this probability.
    """
    end = line
    while end < len(text) and text[end] != 10:
        end += 1
    begin, stop = _next_field(text, line, end)
    if begin == stop:
        return end, line, FINE, np.float32(0)
    wrong, prob = _check_prob(text, begin, stop)
    return end, stop, wrong, prob


@borrowing
def _check_prob(text: Bytes, begin: int, end: int) -> tuple[int, np.float32]:
    valid, value = parse_number(text, begin, end)
    if not valid:
        return NO_NUMBER, np.float32(0)
    return (POSITIVE if value > 0 else FINE), _log10(value)


@borrowing
def _check_backoff(text: Bytes, at: int, end: int) -> tuple[int, np.float32]:
    begin, stop = _next_field(text, at, end)
    if begin == stop:
        return FINE, np.float32(0)
    valid, value = parse_number(text, begin, stop)
    if not valid or value == np.inf:
        return NOT_A_NUMBER, np.float32(0)
    begin, stop = _next_field(text, stop, end)
    return (FINE if begin == stop else MANY_FIELDS), _log10(value)


def slices(text: Bytes, begins: Offsets, ends: Offsets) -> pa.Array:
    """text[begins[i]:ends[i]] as a `large_binary` column."""
    lengths = ends - begins
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    source = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - begins, lengths)
    return binary_column(offsets, text[source])
