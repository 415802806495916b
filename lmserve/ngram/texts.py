"""Texts of any kind, as the kernels take them."""

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from lmserve.errors import OptionError
from lmserve.scorer import Text
from lmserve.text.special_tokens import SPECIAL_WORDS, SpecialTokens

_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def concatenate(texts: Sequence[Text]) -> pa.Array:
    """Texts as a `large_binary` column."""
    try:
        return pa.array(texts, pa.large_binary())
    except UnicodeEncodeError:
        return pa.array([as_bytes(text) for text in texts], pa.large_binary())


def check_texts(texts: pa.Array | pa.ChunkedArray) -> None:
    """Raises `OptionError` for what is no column of strings or binary values, all there."""
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        raise OptionError(
            f"a {type(texts).__name__} is no Arrow column",
            "Give pyarrow.array(texts), or call score_texts.",
        )
    if texts.null_count or not any(is_kind(texts.type) for is_kind in _TEXT_TYPES):
        raise OptionError(
            f"a column of type {texts.type} with {texts.null_count} nulls holds no texts",
            "Give strings or binary values, and fill or drop nulls.",
        )


def as_bytes(text: Text) -> bytes:
    """The bytes of a text."""
    # A lone surrogate cannot be UTF-8; it becomes bytes that no vocabulary holds, not an error.
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def as_text(word: bytes) -> str:
    """A word to be shown; bytes that are no UTF-8 replaced."""
    return word.decode("utf-8", "replace")


def join_lines(texts: Iterable[Text]) -> bytes:
    """A line for each text; line feeds inside them become spaces."""
    lines = [as_bytes(text) for text in texts]
    joined = b"\n".join(lines)
    if joined.count(b"\n") >= max(len(lines), 1):
        joined = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    return joined + b"\n" if lines else b""


def written_words(data: bytes, count: int, special_tokens: SpecialTokens) -> list[str]:
    """The words of one line as they were written, those that `space` drops left out.

    Args:
        data: the line.
        count: how many words a kernel found in it.
        special_tokens: how the kernel took them.
    """
    words = re.split(rb"[ \t\r\n]+", data)
    dropped = SPECIAL_WORDS if special_tokens is SpecialTokens.SPACE else ()
    written = [as_text(word) for word in words if word and word not in dropped]
    assert len(written) == count, "splitting in Python and in the kernel must agree"
    return written
