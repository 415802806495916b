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

from lmserve.ngram.levels import Level, ShardContexts
from lmserve.ngram.records import RecordLayout, Records
from lmserve.ngram.sorting import sort_words
from lmserve.text.special_tokens import BOS
from lmserve.text.word_table import Offsets

# What the kernel remembers of each open context.
_CHILDREN, _CHILD_BEGIN, _CHILD_END, _TOUCHED, _IS_LEAF = range(5)


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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
    raw_rows = rows if keep_raw else 0
    words = np.empty((order, rows), np.uint32)
    counts = np.empty((order, rows), np.uint32)
    raw = np.empty((order, raw_rows), np.uint32)
    # list_ends, child_ends, first_words.
    contexts = np.empty((3, order, rows), np.uint32)
    # Words and contexts written so far.
    sizes = np.zeros((order + 1, 2), np.int64)
    shared = np.zeros((2, vocabulary_size), np.uint32)
    # Counts of the words of an open context with several children, and which words they are.
    totals = np.zeros((order, vocabulary_size), np.uint32)
    raw_totals = np.zeros((order, vocabulary_size if keep_raw else 0), np.uint32)
    touched = np.empty((order, vocabulary_size + 1), np.uint32)
    spare = np.empty(vocabulary_size, np.uint32)
    open_words = np.zeros(order, np.uint32)
    state = np.zeros((order, 5), np.int64)
    n_open = depth
    mask = (np.uint64(1) << np.uint64(word_bits)) - np.uint64(1)
    agreeing = 0
    i = 0
    while True:
        # Close what the next record does not share, the longest context first.
        for j in range(n_open, max(agreeing, depth), -1):
            n, g = sizes[j]
            begin = n
            if state[j, _IS_LEAF]:
                begin = contexts[0, j, g - 1] if g > 0 else 0
            elif state[j, _CHILDREN] == 1:
                # One word can precede: the same words, each once.
                for q in range(state[j, _CHILD_BEGIN], state[j, _CHILD_END]):
                    words[j, n] = words[j + 1, q]
                    counts[j, n] = 1 if adjusted else counts[j + 1, q]
                    if keep_raw:
                        raw[j, n] = raw[j + 1, q]
                    n += 1
            else:
                for q in range(state[j, _TOUCHED]):
                    words[j, n + q] = touched[j, q]
                n += state[j, _TOUCHED]
                sort_words(words[j], begin, n, spare)
                for q in range(begin, n):
                    counts[j, q] = totals[j, words[j, q]]
                    totals[j, words[j, q]] = 0
                if keep_raw:
                    for q in range(begin, n):
                        raw[j, q] = raw_totals[j, words[j, q]]
                        raw_totals[j, words[j, q]] = 0
            contexts[0, j, g] = n
            contexts[1, j, g] = sizes[j + 1, 1]
            contexts[2, j, g] = open_words[j]
            sizes[j, 0] = n
            sizes[j, 1] = g + 1
            state[j] = 0

            # What was seen after this context was seen after the one without its first word.
            up = j - 1
            if up == depth:
                for q in range(begin, n):
                    shared[0, words[j, q]] += np.uint32(1) if adjusted else counts[j, q]
                    if keep_raw:
                        shared[1, words[j, q]] += raw[j, q]
                continue
            state[up, _CHILDREN] += 1
            if state[up, _CHILDREN] == 1:
                state[up, _CHILD_BEGIN] = begin
                state[up, _CHILD_END] = n
                continue
            n_touched = state[up, _TOUCHED]
            first = state[up, _CHILD_BEGIN] if state[up, _CHILDREN] == 2 else begin
            for q in range(first, n):
                word = words[j, q]
                total = totals[up, word]
                # Written in any case and kept if new: cheaper than a branch nobody can predict.
                touched[up, n_touched] = word
                n_touched += total == 0
                totals[up, word] = total + (np.uint32(1) if adjusted else counts[j, q])
                if keep_raw:
                    raw_totals[up, word] += raw[j, q]
            state[up, _TOUCHED] = n_touched
        if i == rows:
            break

        following = _agreement(records, i, places)
        joint = max(agreeing, following, depth)
        if joint < longest and (joint == 0 or _word(records, i, places, joint - 1, mask) != BOS):
            # The usual case: a record whose longer contexts are no other's. Each has this one word.
            for j in range(agreeing, joint):
                open_words[j + 1] = _word(records, i, places, j, mask)
            n_open = joint
            token = _word(records, i, places, longest, mask)
            for j in range(joint + 1, order):
                n, g = sizes[j]
                words[j, n] = token
                counts[j, n] = 1
                if keep_raw:
                    raw[j, n] = 1
                first_word = _word(records, i, places, j - 1, mask)
                is_leaf = j == longest or first_word == BOS
                contexts[0, j, g] = n + 1
                contexts[1, j, g] = sizes[j + 1, 1] + (0 if is_leaf else 1)
                contexts[2, j, g] = first_word
                sizes[j, 0] = n + 1
                sizes[j, 1] = g + 1
                if is_leaf:
                    break
            begin, end = sizes[joint + 1, 0] - 1, sizes[joint + 1, 0]
            if joint == depth:
                shared[0, token] += np.uint32(1)
                if keep_raw:
                    shared[1, token] += np.uint32(1)
            else:
                state[joint, _CHILDREN] += 1
                if state[joint, _CHILDREN] == 1:
                    state[joint, _CHILD_BEGIN] = begin
                    state[joint, _CHILD_END] = end
                else:
                    n_touched = state[joint, _TOUCHED]
                    first = state[joint, _CHILD_BEGIN] if state[joint, _CHILDREN] == 2 else begin
                    for q in range(first, end):
                        word = words[joint + 1, q]
                        total = totals[joint, word]
                        touched[joint, n_touched] = word
                        n_touched += total == 0
                        totals[joint, word] = total + (
                            np.uint32(1) if adjusted else counts[joint + 1, q]
                        )
                        if keep_raw:
                            raw_totals[joint, word] += raw[joint + 1, q]
                    state[joint, _TOUCHED] = n_touched
            agreeing = following
            i += 1
            continue

        # Open all contexts of record i, down to the longest or to one that begins with <s>.
        j = agreeing
        while j < longest and (j == 0 or open_words[j] != BOS):
            open_words[j + 1] = _word(records, i, places, j, mask)
            j += 1
        n_open = j

        # The list of the last of them: the runs of equal records.
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
                if keep_raw:
                    shared[1, token] += count
                continue
            words[j, n] = token
            counts[j, n] = count
            if keep_raw:
                raw[j, n] = count
            n += 1
        if j > depth:
            sizes[j, 0] = n
            state[j, _IS_LEAF] = 1
        agreeing = min(agreeing, j)
    return words, counts, raw, contexts, sizes, shared
