"""Text as characters: each code point is a token."""

import numpy as np

from lmserve.kernels import borrowing
from lmserve.text.scanning import Bytes

# U+2581, a low line, as SentencePiece writes a space that is a token.
SPACE = "\u2581".encode()
_LOW_LINE = np.frombuffer(SPACE, np.uint8)
# "a b" becomes "a ▁ b " and a line feed stays alone: three bytes for one at most.
_GROWTH = 3


def split_characters(data: bytes) -> bytes:
    """Lines of tokens, separated by spaces, of lines of text.

    A token is a code point; a run of spaces, tabs and carriage returns between two of them is one
    `▁`, and none at a line's beginning and end. Of what is no UTF-8, each byte is a token.
    """
    text = np.frombuffer(data, np.uint8)
    output = np.empty(_GROWTH * len(text), np.uint8)
    return output[: _split(text, output, _LOW_LINE)].tobytes()


@borrowing
def _split(text: Bytes, output: Bytes, space: Bytes) -> int:
    n = 0
    i = 0
    # Whether the line has a token yet, and whether separators have come since.
    begun = False
    pending = False
    while i < len(text):
        byte = text[i]
        if byte == 10:
            output[n] = 10
            n += 1
            i += 1
            begun = False
            pending = False
            continue
        if byte == 32 or byte == 9 or byte == 13:
            pending = begun
            i += 1
            continue
        if begun:
            output[n] = 32
            n += 1
        if pending:
            for byte in space:
                output[n] = byte
                n += 1
            output[n] = 32
            n += 1
            pending = False
        begun = True
        for _ in range(_sequence_length(text, i)):
            output[n] = text[i]
            n += 1
            i += 1
    return n


@borrowing
def _sequence_length(text: Bytes, i: int) -> int:
    """Bytes of the valid UTF-8 sequence that starts at byte i; 1 if there is none.

    The ranges are those of table 3-7 of the Unicode standard: no overlong forms, no surrogates,
    nothing above U+10FFFF.
    """
    lead = text[i]
    if lead < 0xC2 or lead > 0xF4:
        return 1
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if i + length > len(text):
        return 1
    low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
    high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
    if text[i + 1] < low or text[i + 1] > high:
        return 1
    for j in range(i + 2, i + length):
        if text[j] & 0xC0 != 0x80:
            return 1
    return length
