"""Thinning: the lists of counted contexts without the n-grams that pruning leaves out.

What stays is smoothed as though all were there: of the rest a context remembers the sum of their
counts and how many they were (`LeftOut`). A context is itself an n-gram, as often seen as all words
after it together; one that is left out takes its list with it, and all contexts that end in it, for
none of these is more frequent.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.levels import Counts, LeftOut, Level
from lmserve.text.word_table import Ids, Offsets


class _Thinned(NamedTuple):
    words: Ids
    counts: Counts
    list_ends: Ids
    child_ends: Ids
    first_words: Ids
    left_counts: Offsets
    left_words: Ids
    kept_before: Ids  # of the contexts, how many stay before each: uint32 [G + 1]


def thin(levels: Sequence[Level], thresholds: npt.NDArray[np.int64], shortest: int) -> list[Level]:
    """Leaves out the n-grams that occur as often as their order's threshold or less.

    Args:
        levels: the contexts of shortest, shortest + 1, ... words, with raw counts beside adjusted
            ones.
        thresholds: int64 [n], of orders 1 .. n, from `lmserve.ngram.pruning.prune_thresholds`.
        shortest: words of the shortest contexts, 1 or more.

    Returns:
        The levels, without raw counts.
    """
    thinned: list[Level] = []
    kept_before = np.zeros(1, np.uint32)
    for j in range(shortest + len(levels) - 1, shortest - 1, -1):
        level = levels[j - shortest]
        parts = _Thinned(
            *_thin(
                level.words,
                level.counts,
                level.counts if level.raw_counts is None else level.raw_counts,
                level.list_ends,
                level.child_ends,
                level.first_words,
                thresholds[j],
                thresholds[j - 1],
                kept_before,
            )
        )
        kept_before = parts.kept_before
        thinned.append(
            Level(
                words=parts.words,
                counts=parts.counts,
                raw_counts=None,
                list_ends=parts.list_ends,
                child_ends=parts.child_ends,
                first_words=parts.first_words,
                left_out=LeftOut(parts.left_counts, parts.left_words),
            )
        )
    return thinned[::-1]


@njit(cache=True, nogil=True)
def _thin(
    words: Ids,
    counts: Counts,
    raw_counts: Counts,
    list_ends: Ids,
    child_ends: Ids,
    first_words: Ids,
    threshold: int,
    context_threshold: int,
    children_kept_before: Ids,
) -> tuple[Ids, Counts, Ids, Ids, Ids, Offsets, Ids, Ids]:
    kept_words = np.empty_like(words)
    kept_counts = np.empty_like(counts)
    kept_list_ends = np.empty_like(list_ends)
    kept_child_ends = np.empty_like(child_ends)
    kept_first_words = np.empty_like(first_words)
    left_counts = np.empty(len(list_ends), np.int64)
    left_words = np.empty(len(list_ends), np.uint32)
    kept_before = np.empty(len(list_ends) + 1, np.uint32)
    n = 0
    g = 0
    begin = np.int64(0)
    for context in range(len(list_ends)):
        end = np.int64(list_ends[context])
        kept_before[context] = g
        first = n
        occurrences = np.int64(0)
        left_count = np.int64(0)
        for i in range(begin, end):
            occurrences += raw_counts[i]
            # Written in any case, and kept by moving on.
            kept_words[n] = words[i]
            kept_counts[n] = counts[i]
            if raw_counts[i] > threshold:
                n += 1
            else:
                left_count += counts[i]
        if occurrences > context_threshold:
            kept_list_ends[g] = n
            kept_child_ends[g] = children_kept_before[child_ends[context]]
            kept_first_words[g] = first_words[context]
            left_counts[g] = left_count
            left_words[g] = (end - begin) - (n - first)
            g += 1
        begin = end
    kept_before[len(list_ends)] = g
    return (
        kept_words[:n].copy(),
        kept_counts[:n].copy(),
        kept_list_ends[:g].copy(),
        kept_child_ends[:g].copy(),
        kept_first_words[:g].copy(),
        left_counts[:g].copy(),
        left_words[:g].copy(),
        kept_before,
    )
