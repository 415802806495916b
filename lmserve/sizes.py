"""Amounts of memory and disk, as people write them."""

import re

from lmserve.errors import OptionError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_size(text: str) -> int:
    """Bytes of "500MB", "2GB" (powers of 1000), "2GiB" (powers of 1024) or a plain number.

    Raises:
        OptionError: it is no size.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*([kmgt]i?|)b?\s*", text, re.IGNORECASE)
    if match is None:
        raise OptionError(f"{text!r} is no size", "Give a size such as 500MB, 2GB or 2GiB.")
    number, unit = match.groups()
    return int(float(number) * {**_UNITS, **_BINARY_UNITS}[unit.lower()])
