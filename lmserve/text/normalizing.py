"""Normalisation of text: lower case, and Unicode's compatibility composition (NFKC).

Both are defined on Unicode, and text is bytes: what is no valid UTF-8 stays as it is, byte for
byte, and the valid text around it is normalised as if it stood alone. ASCII, which NFKC leaves
alone, is not decoded at all.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

# How `surrogateescape` decodes bytes that are no UTF-8.
_INVALID = re.compile("([\udc80-\udcff]+)")


class Normalization(StrEnum):
    """One step of normalisation."""

    LOWER = "lower"
    NFKC = "nfkc"


def normalize(data: bytes, steps: Sequence[Normalization]) -> bytes:
    """Applies the steps in their order. Lines stay lines: neither step makes or takes line feeds.

    NFKC makes spaces of no-break and other spaces, which then separate words.

    Args:
        data: lines of text.
        steps: what to do.
    """
    for step in steps:
        data = _STEPS[step](data)
    return data


def _lower(data: bytes) -> bytes:
    # Letter by letter, by Unicode's simple mapping: what a letter becomes does not depend on its
    # neighbours, as it does in `str.lower`.
    return data.lower() if data.isascii() else _map_valid(data, _arrow_lower)


def _nfkc(data: bytes) -> bytes:
    # Python's is ten times as fast as Arrow's. Line feeds combine with nothing.
    return data if data.isascii() else _map_valid(data, lambda t: unicodedata.normalize("NFKC", t))


_STEPS: dict[Normalization, Callable[[bytes], bytes]] = {
    Normalization.LOWER: _lower,
    Normalization.NFKC: _nfkc,
}


def _arrow_lower(text: str) -> str:
    return cast(str, pc.utf8_lower(pa.scalar(text, pa.large_string())).as_py())


def _map_valid(data: bytes, change: Callable[[str], str]) -> bytes:
    """Changes the parts of `data` that are valid UTF-8."""
    try:
        return change(data.decode()).encode()
    except UnicodeDecodeError:
        parts = _INVALID.split(data.decode("utf-8", "surrogateescape"))
        # The parts between are the invalid bytes.
        parts[::2] = [change(part) for part in parts[::2]]
        return "".join(parts).encode("utf-8", "surrogateescape")
