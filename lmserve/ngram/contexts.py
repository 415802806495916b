"""Contexts: one shard's sorted records -> its lists of words after every context, with counts.

A list holds the words seen after one context, sorted, each with its count. The lists of the longest
contexts are runs of equal records. The list of a context c is made of those of the contexts v c one
word longer, which precede it: a word's adjusted count is the number of these lists that hold it,
its raw count the sum of its raw counts there. A context that begins with `<s>` has nothing longer;
its list, too, is a run of records. So one pass over the records builds the lists of all lengths,
and each is written when its last record has passed.

Level j holds the contexts of j words, in the order of their words read backwards.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing
from lmserve.ngram.levels import Level, ShardContexts
from lmserve.ngram.records import RecordLayout, Records
from lmserve.ngram.sorting import sort_words
from lmserve.text.special_tokens import BOS
from lmserve.text.word_table import Offsets

# Lists of no more words than this together are merged by insertion.
_FEW = 12


def collect(
    records: Records, layout: RecordLayout, *, depth: int, adjusted: bool, keep_raw: bool
) -> ShardContexts:
    """Builds the lists of all contexts of a shard.

    Args:
        records: uint64 [R, columns], sorted.
        layout: of the records.
        depth: how many of the nearest words all records share; contexts of no more words are not
            this shard's alone.
        adjusted: count adjusted, else raw.
        keep_raw: keep raw counts beside adjusted ones.

    Returns:
        The lists.
    """
    keep_raw = keep_raw and adjusted
    words, counts, raw, contexts, sizes, shared = _collect(
        records, layout.places, layout.word_bits, layout.vocabulary_size, depth, adjusted, keep_raw
    )
    levels = [
        Level(
            words=words[j, :n],
            counts=counts[j, :n],
            raw_counts=raw[j, :n] if keep_raw else None,
            list_ends=contexts[0, j, :g],
            child_ends=contexts[1, j, :g],
            first_words=contexts[2, j, :g],
        )
        for j, (n, g) in enumerate(sizes)
        if depth < j < layout.order
    ]
    (seen,) = np.nonzero(shared[0])
    return ShardContexts(
        levels=levels,
        shared=(
            seen.astype(np.uint32),
            shared[0][seen],
            shared[1][seen] if keep_raw else None,
        ),
    )


@borrowing
def _agreement(records: Records, i: int, places: Offsets) -> int:
    """In how many of their first words records i and i + 1 agree; 0 at the end."""
    if i + 1 == len(records):
        return 0
    for c in range(records.shape[1]):
        difference = records[i, c] ^ records[i + 1, c]
        if difference != 0:
            agreeing = 0
            while places[agreeing, 0] < c or difference >> np.uint64(places[agreeing, 1]) == 0:
                agreeing += 1
            return agreeing
    return len(places)


@borrowing
def _word(records: Records, i: int, places: Offsets, j: int, mask: np.uint64) -> np.uint32:
    """Word j of record i, counted from 0."""
    return np.uint32((records[i, places[j, 0]] >> np.uint64(places[j, 1])) & mask)


@njit(cache=True, nogil=True)
def _collect(
    records: Records,
    places: Offsets,
    word_bits: int,
    vocabulary_size: int,
    depth: int,
    adjusted: bool,
    keep_raw: bool,
) -> tuple[
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    Offsets,
    npt.NDArray[np.uint32],
]:
    """See `collect`; level j is row j of every array."""
    rows = len(records)
    order = len(places)
    longest = order - 1
    words = np.empty((order, rows), np.uint32)
    counts = np.empty((order, rows), np.uint32)
    raw = np.empty((order, rows if keep_raw else 0), np.uint32)
    # list_ends, child_ends, first_words.
    contexts = np.empty((3, order, rows), np.uint32)
    # Words and contexts written so far.
    sizes = np.zeros((order + 1, 2), np.int64)
    shared = np.zeros((2, vocabulary_size), np.uint32)
    totals = np.zeros((2, vocabulary_size), np.uint32)
    spare = np.empty(vocabulary_size, np.uint32)
    # Of each open context its first word, and what the next level's sizes were when it was opened.
    open_words = np.zeros(order, np.uint32)
    opened = np.zeros((order, 2), np.int64)
    n_open = depth
    mask = (np.uint64(1) << np.uint64(word_bits)) - np.uint64(1)
    agreeing = 0
    i = 0
    while True:
        # Close what the next record does not share, the longest context first.
        for j in range(n_open, max(agreeing, depth), -1):
            begin, n = sizes[j, 0], sizes[j, 0]
            child, end = opened[j, 0], sizes[j + 1, 0]
            if sizes[j + 1, 1] == opened[j, 1] + 1:
                # One word can precede: the same words, each once.
                for q in range(child, end):
                    words[j, n] = words[j + 1, q]
                    counts[j, n] = 1 if adjusted else counts[j + 1, q]
                    if keep_raw:
                        raw[j, n] = raw[j + 1, q]
                    n += 1
            elif end - child <= _FEW:
                for q in range(child, end):
                    word = words[j + 1, q]
                    count = np.uint32(1) if adjusted else counts[j + 1, q]
                    p = n
                    while p > begin and words[j, p - 1] > word:
                        p -= 1
                    if p > begin and words[j, p - 1] == word:
                        counts[j, p - 1] += count
                        if keep_raw:
                            raw[j, p - 1] += raw[j + 1, q]
                        continue
                    for r in range(n, p, -1):
                        words[j, r] = words[j, r - 1]
                        counts[j, r] = counts[j, r - 1]
                        if keep_raw:
                            raw[j, r] = raw[j, r - 1]
                    words[j, p] = word
                    counts[j, p] = count
                    if keep_raw:
                        raw[j, p] = raw[j + 1, q]
                    n += 1
            else:
                for q in range(child, end):
                    word = words[j + 1, q]
                    # Written in any case and kept if new: cheaper than an unforeseeable branch.
                    words[j, n] = word
                    n += totals[0, word] == 0
                    totals[0, word] += np.uint32(1) if adjusted else counts[j + 1, q]
                    if keep_raw:
                        totals[1, word] += raw[j + 1, q]
                sort_words(words[j], begin, n, spare)
                for q in range(begin, n):
                    word = words[j, q]
                    counts[j, q] = totals[0, word]
                    totals[0, word] = 0
                    if keep_raw:
                        raw[j, q] = totals[1, word]
                        totals[1, word] = 0
            g = sizes[j, 1]
            contexts[0, j, g] = n
            contexts[1, j, g] = sizes[j + 1, 1]
            contexts[2, j, g] = open_words[j]
            sizes[j, 0] = n
            sizes[j, 1] = g + 1
        if i == rows:
            break

        following = _agreement(records, i, places)
        joint = min(max(agreeing, following, depth), longest)
        j = agreeing
        while j < joint and (j == 0 or open_words[j] != BOS):
            j += 1
            open_words[j] = _word(records, i, places, j - 1, mask)
            opened[j, 0] = sizes[j + 1, 0]
            opened[j, 1] = sizes[j + 1, 1]
        token = _word(records, i, places, longest, mask)
        if j < longest and (j == 0 or open_words[j] != BOS):
            # The usual case: a record whose longer contexts are no other's. Each has this one word.
            n_open = j
            is_leaf = False
            while not is_leaf:
                j += 1
                n, g = sizes[j, 0], sizes[j, 1]
                first_word = _word(records, i, places, j - 1, mask)
                is_leaf = j == longest or first_word == BOS
                words[j, n] = token
                counts[j, n] = 1
                if keep_raw:
                    raw[j, n] = 1
                contexts[0, j, g] = n + 1
                contexts[1, j, g] = sizes[j + 1, 1] + (0 if is_leaf else 1)
                contexts[2, j, g] = first_word
                sizes[j, 0] = n + 1
                sizes[j, 1] = g + 1
            agreeing = following
            i += 1
            continue

        # A longest context, or one that begins with <s>: its list is the runs of equal records.
        n_open = j - 1
        n = sizes[j, 0]
        agreeing = longest
        while agreeing >= longest:
            token = _word(records, i, places, longest, mask)
            count = np.uint32(1)
            agreeing = _agreement(records, i, places)
            i += 1
            while agreeing == order:
                count += np.uint32(1)
                agreeing = _agreement(records, i, places)
                i += 1
            if j <= depth:
                shared[0, token] += count
                shared[1, token] += count
                continue
            words[j, n] = token
            counts[j, n] = count
            if keep_raw:
                raw[j, n] = count
            n += 1
        if j > depth:
            g = sizes[j, 1]
            contexts[0, j, g] = n
            contexts[1, j, g] = sizes[j + 1, 1]
            contexts[2, j, g] = open_words[j]
            sizes[j, 0] = n
            sizes[j, 1] = g + 1
        agreeing = min(agreeing, j)

    # What was seen after the shortest contexts was seen after the one that all records share.
    if depth < longest:
        for q in range(sizes[depth + 1, 0]):
            word = words[depth + 1, q]
            shared[0, word] += np.uint32(1) if adjusted else counts[depth + 1, q]
            if keep_raw:
                shared[1, word] += raw[depth + 1, q]
    return words, counts, raw, contexts, sizes, shared
