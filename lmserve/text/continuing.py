"""Tokens of text that comes piece by piece, as they would be if it had come at once."""

import re

from lmserve.text.tokenization import Segment, identity

_SEPARATORS = b" \t\r\n"
_TOKEN = re.compile(rb"[^%b]+" % _SEPARATORS)


def words_of(text: bytes) -> list[bytes]:
    """The words of a text: runs of anything but space, tab, carriage return and line feed."""
    return _TOKEN.findall(text)


def tokens_after(segment: Segment, text: bytes, *, begun: bool) -> list[bytes]:
    """The tokens of a text that goes on, after white space, from another.

    Tokenizers may write a word in a sentence otherwise than one at its beginning: then the tokens
    are those after another word. Of a tokenizer whose tokens reach over white space, they are those
    of the text alone.

    Args:
        segment: what makes lines of tokens of lines of text.
        text: the text; white space around it is none of it.
        begun: whether the sentence has words already.
    """
    if segment is identity:
        return words_of(text)
    text = text.strip(_SEPARATORS).replace(b"\n", b" ")
    if not text:
        return []
    if not begun:
        return words_of(segment(text + b"\n"))
    before, both = map(words_of, segment(b"a\na " + text + b"\n").split(b"\n")[:2])
    if both[: len(before)] != before:
        return words_of(segment(text + b"\n"))
    return both[len(before) :]
