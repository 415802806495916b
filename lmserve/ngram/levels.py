"""What is known of the contexts of one length: the words seen after them, with their counts."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from lmserve.text.word_table import Ids, Offsets

# Counts of one shard, or of several added up.
Counts = Ids | Offsets
# Words of one list, their counts, and their raw counts if asked for: uint32 [U] each.
SharedList = tuple[Ids, Ids, Ids | None]


class LeftOut(NamedTuple):
    """What of each context's list was left out by pruning.

    Attributes:
        counts: int64 [G], the sum of their counts.
        words: uint32 [G], how many they were.
    """

    counts: Offsets
    words: Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """The contexts of j words of one shard: G contexts, and N words in their lists.

    Attributes:
        words: uint32 [N], list after list, each sorted.
        counts: uint32 [N], adjusted or raw, whichever the smoothing asks for; int64 in lists added
            up from several shards.
        raw_counts: uint32 [N], occurrences in the text; None unless asked for.
        list_ends: uint32 [G], where each context's list ends.
        child_ends: uint32 [G], where its contexts one word longer end in the next level.
        first_words: uint32 [G], the first word of each context.
        left_out: by pruning; None where nothing was.
    """

    words: Ids
    counts: Counts
    raw_counts: Counts | None
    list_ends: Ids
    child_ends: Ids
    first_words: Ids
    left_out: LeftOut | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardContexts:
    """What one shard knows of the text.

    Attributes:
        levels: of the contexts with j = depth + 1, ..., n - 1 words.
        shared: the list of the context that this shard shares with others, the first `depth` words
            of all its records, as far as this shard has seen it.
    """

    levels: list[Level]
    shared: SharedList


@njit(cache=True, nogil=True)
def count_counts(counts: Counts) -> Offsets:
    """How many counts are 1, 2, 3, 4: int64 [4]."""
    ones = twos = threes = fours = 0
    for count in counts:
        ones += count == 1
        twos += count == 2
        threes += count == 3
        fours += count == 4
    return np.array((ones, twos, threes, fours), np.int64)
