"""A model's trie in plain columns: n-grams in any order -> levels in the order of the format."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psutil
from numba import njit

from lmserve.kernels import borrowing
from lmserve.text.word_table import Ids

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

_CHUNK_ROWS = 1 << 17
_KEY_BITS = np.uint64(32)


@dataclass(kw_only=True, slots=True)
class TrieLevel:
    """Level k in the format's order; see `lmserve.ngram.writing.PlainLevel`.

    Attributes:
        words: uint32 [R], last words.
        positions: uint32 [R].
        suffixes: int64 [R], rows of the n-grams without their first words, in level k - 1.
        log10_prob: float32 [R].
        log10_backoff: float32 [R].
        first_child: int64 [R + 1]; all 0 until there is a level k + 1.
    """

    words: Ids
    positions: Ids
    suffixes: Int64s
    log10_prob: Float32s
    log10_backoff: Float32s
    first_child: Int64s


def unigram_level(log10_prob: Float32s, log10_backoff: Float32s) -> TrieLevel:
    """Level 1."""
    words = np.arange(len(log10_prob), dtype=np.uint32)
    return TrieLevel(
        words=words,
        positions=words,
        suffixes=np.empty(0, np.int64),
        log10_prob=log10_prob,
        log10_backoff=log10_backoff,
        first_child=np.zeros(len(words) + 1, np.int64),
    )


def find_rows(levels: Sequence[TrieLevel], ids: Ids) -> Int64s:
    """Rows of m-grams in level m, int64 [R], or -1; ids uint32 [R, m]."""
    rows = np.empty(len(ids), np.int64)
    if ids.shape[1] == 0:
        rows[:] = -1
        return rows

    def find(start: int) -> None:
        part = ids[start : start + _CHUNK_ROWS]
        found = part[:, 0].astype(np.int64)
        for lower, level, j in zip(levels, levels[1:], range(1, ids.shape[1]), strict=False):
            found = _descend(found, part[:, j], lower.first_child, level.words)
        rows[start : start + _CHUNK_ROWS] = found

    with ThreadPoolExecutor(psutil.cpu_count() or 1) as pool:
        list(pool.map(find, range(0, len(ids), _CHUNK_ROWS)))
    return rows


def add_level(
    levels: list[TrieLevel], ids: Ids, log10_prob: Float32s, log10_backoff: Float32s
) -> Ids:
    """Puts level k on top of levels 1 .. k - 1, where nothing below is missing.

    Args:
        levels: levels 1 .. k - 1; the new one is appended.
        ids: uint32 [R, k], in any order.
        log10_prob: float32 [R].
        log10_backoff: float32 [R].

    Returns:
        The (k - 1)-grams that must be there and are not, uint32 [M, k - 1], distinct; where there
        are any, `levels` is as it was.

    Raises:
        ValueError: an n-gram occurs twice; its argument is its ids.
    """
    k = ids.shape[1]
    prefixes = find_rows(levels, ids[:, : k - 1])
    if k > 2 and prefixes.min(initial=0) < 0:
        return np.unique(ids[prefixes < 0, : k - 1], axis=0)
    keys = (prefixes.astype(np.uint64) << _KEY_BITS) | ids[:, k - 1].astype(np.uint64)
    order = np.argsort(keys)
    keys = keys[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        raise ValueError(ids[order[twice[0]]].tolist())
    prefixes = (keys >> _KEY_BITS).astype(np.int64)
    words = keys.astype(np.uint32)
    below = levels[-1]
    if k == 2:
        suffixes, positions = words.astype(np.int64), words
    else:
        suffixes, positions = _find_suffixes(
            prefixes, words, below.suffixes, levels[-2].first_child, below.words
        )
        missing = suffixes < 0
        if missing.any():
            return np.unique(ids[order[missing], 1:], axis=0)
    below.first_child = count_children(prefixes, len(below.words))
    levels.append(
        TrieLevel(
            words=words,
            positions=positions,
            suffixes=suffixes,
            log10_prob=log10_prob[order],
            log10_backoff=log10_backoff[order],
            first_child=np.zeros(len(words) + 1, np.int64),
        )
    )
    return np.empty((0, k - 1), np.uint32)


def expand(levels: Sequence[TrieLevel]) -> Ids:
    """The n-grams of the last of levels 1 .. k: uint32 [R, k]."""
    ids = np.empty((len(levels[-1].words), len(levels)), np.uint32)
    rows = np.arange(len(ids))
    for j in range(len(levels) - 1, -1, -1):
        ids[:, j] = levels[j].words[rows]
        if j > 0:
            rows = np.searchsorted(levels[j - 1].first_child, rows, side="right") - 1
    return ids


def backed_off(levels: Sequence[TrieLevel], ids: Ids) -> npt.NDArray[np.float32]:
    """log10 P of the last word of each m-gram after the others: float32 [R]; ids uint32 [R, m]."""
    total = np.zeros(len(ids), np.float64)
    pending: Bools = np.ones(len(ids), bool)
    m = ids.shape[1]
    for i in range(m):
        rows = find_rows(levels, ids[:, i:])
        hit = pending & (rows >= 0)
        total[hit] += levels[m - i - 1].log10_prob[rows[hit]]
        pending &= ~hit
        contexts = find_rows(levels, ids[:, i : m - 1])
        weighted = pending & (contexts >= 0)
        if weighted.any():
            total[weighted] += levels[m - i - 2].log10_backoff[contexts[weighted]]
    return total.astype(np.float32)


@njit(cache=True, nogil=True)
def count_children(parents: Int64s, rows: int) -> Int64s:
    """First children, int64 [rows + 1], of a level whose children have these sorted parents."""
    first_child = np.zeros(rows + 1, np.int64)
    for parent in parents:
        first_child[parent + 1] += 1
    for row in range(rows):
        first_child[row + 1] += first_child[row]
    return first_child


@borrowing
def _find(words: Ids, begin: int, end: int, word: int) -> int:
    low, high = begin, end
    while low < high:
        middle = (low + high) >> 1
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and words[low] == word else -1


@njit(cache=True, nogil=True)
def _descend(rows: Int64s, words: Ids, first_child: Int64s, child_words: Ids) -> Int64s:
    found = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        row = rows[i]
        found[i] = (
            _find(child_words, first_child[row], first_child[row + 1], words[i]) if row >= 0 else -1
        )
    return found


@njit(cache=True, nogil=True)
def _find_suffixes(
    prefixes: Int64s, words: Ids, suffixes: Int64s, first_child: Int64s, child_words: Ids
) -> tuple[Int64s, Ids]:
    found = np.empty(len(words), np.int64)
    positions = np.empty(len(words), np.uint32)
    for i in range(len(words)):
        context = suffixes[prefixes[i]]
        begin = first_child[context]
        found[i] = _find(child_words, begin, first_child[context + 1], words[i])
        positions[i] = found[i] - begin
    return found, positions
