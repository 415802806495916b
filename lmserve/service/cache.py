"""Where scores of whole texts are kept between requests: the seam, and its in-process twin."""

import math
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from lmserve.errors import OptionError
from lmserve.scorer import TextScore

# log10_prob as float64, tokens and oov as uint32; little-endian, no padding.
_PACKED = struct.Struct("<dII")


def pack(score: TextScore) -> bytes:
    """A score as a fixed-size value for a store outside this process."""
    return _PACKED.pack(*score)


def unpack(value: bytes) -> TextScore:
    """Reads a value from a store that others may write to: nothing in it is trusted.

    Raises:
        ValueError: the value has another size, or cannot be a score.
    """
    if len(value) != _PACKED.size:
        raise ValueError(f"a score has {_PACKED.size} bytes, not {len(value)}")
    score = TextScore(*_PACKED.unpack(value))
    if not score.log10_prob <= 0:  # Put so that NaN is refused, too.
        raise ValueError(f"a score is at most 0, not {score.log10_prob}")
    if score.oov > score.tokens:
        raise ValueError(f"{score.oov} of {score.tokens} words outside the vocabulary")
    return score


class CachePolicy(StrEnum):
    """For which models scores are kept."""

    AUTO = "auto"
    ALL = "all"
    OFF = "off"

    def keeps(self, *, costly: bool) -> bool:
        """Whether a model's scores are kept: by `AUTO`, if it is costly (`LanguageModel`)."""
        return self is CachePolicy.ALL or (self is CachePolicy.AUTO and costly)


class ScoreCache(Protocol):
    """Keeps scores by key. A cache may forget anything at any time, and never fails."""

    async def get_many(
        self, keys: Sequence[bytes], *, within_s: float = math.inf
    ) -> list[TextScore | None]:
        """The score of each key, in order; None for a miss, or where it takes longer than that."""
        ...

    async def set_many(self, scores: Mapping[bytes, TextScore]) -> None:
        """Keeps the scores."""
        ...

    async def close(self) -> None:
        """Ends connections; the cache is not used afterwards."""
        ...


class LruCache:
    """Keeps the most recently used scores in this process (some 250 bytes an entry).

    Args:
        max_entries: scores kept; 0 keeps none.

    Raises:
        OptionError: `max_entries` is negative.
    """

    def __init__(self, max_entries: int = 100_000) -> None:
        if max_entries < 0:
            raise OptionError(
                f"max_entries is {max_entries}",
                "Give a number of entries of at least 0; 0 turns the cache off.",
            )
        self._max_entries = max_entries
        self._scores: OrderedDict[bytes, TextScore] = OrderedDict()

    async def get_many(
        self, keys: Sequence[bytes], *, within_s: float = math.inf
    ) -> list[TextScore | None]:
        """The score of each key, in order; None for a miss. It is there at once."""
        del within_s
        found = [self._scores.get(key) for key in keys]
        for key, score in zip(keys, found, strict=True):
            if score is not None:
                self._scores.move_to_end(key)
        return found

    async def set_many(self, scores: Mapping[bytes, TextScore]) -> None:
        """Keeps the scores and drops those unused for longest."""
        for key, score in scores.items():
            self._scores[key] = score
            self._scores.move_to_end(key)
        while len(self._scores) > self._max_entries:
            self._scores.popitem(last=False)

    async def close(self) -> None:
        """Forgets everything."""
        self._scores.clear()
