"""Ordering: lists in the order of contexts read backwards -> rows in the order of a finished model.

Shards know the contexts by their last words; a model is a trie from the first word on. Its rows are
made bucket by bucket, a bucket being the n-grams whose first words lie in a range of ids.

Lists arrive by (last word of the context, the word before it, ...), shard after shard. So the
contexts of j + 1 words arrive in the order in which the words of the lists of j words come when
these, taken list by list, are sorted by word and else left as they are: one counting sort tells for
every context whose row it continues. No n-gram is ever compared with another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from lmserve.ngram.estimating import Estimates
from lmserve.ngram.levels import Level
from lmserve.ngram.packing import Uint64s
from lmserve.text.special_tokens import EOS
from lmserve.text.word_table import Ids, Offsets

_HIGH = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrivals:
    """The contexts of j words, as they arrive: G of them, with N words in their lists.

    Pairs that are moved together are kept together: going through memory in no order costs by the
    place, not by the byte.

    Attributes:
        contexts: uint64 [G], how many words are in the list, and from bit 32 the bits of log10 of
            the backoff weight, a float32.
        entries: uint64 [N], list after list: the position, and from bit 32 the bits of log10 of
            the probability, a float32.
        words: uint32 [N]; empty for the longest contexts, where nothing is continued.
        first_words: uint32 [G]; empty but for contexts of one word.
    """

    contexts: Uint64s
    entries: Uint64s
    words: Ids
    first_words: Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows of one level that lie in a bucket, R of them, in a model's order.

    Attributes:
        entries: uint64 [R], positions and log10 probabilities as in `Arrivals`.
        backoffs: uint32 [R], the bits of a float32, 0.0 for what is no context; empty in the last
            level.
        first_child: uint32 [R + 1], rows of the next level counted from the bucket's first; empty
            in the last level.
    """

    entries: Uint64s
    backoffs: Ids
    first_child: Ids

    @property
    def positions(self) -> Ids:
        """uint32 [R]."""
        return self.entries.view("<u4")[0::2]

    @property
    def probs(self) -> Ids:
        """uint32 [R], the bits of a float32."""
        return self.entries.view("<u4")[1::2]


def split(
    level: Level, estimates: Estimates, bucket_of_word: Ids, buckets: int, *, j: int, longest: int
) -> tuple[Arrivals, Offsets]:
    """Sorts the contexts of a level by the bucket of their first word, else leaving their order.

    Args:
        level: G contexts.
        estimates: of this level.
        bucket_of_word: uint32 [V].
        buckets: B.
        j: words of these contexts.
        longest: words of the model's longest contexts.

    Returns:
        The contexts; where each bucket begins: int64 [B + 1, 2], contexts and words.
    """
    contexts, entries, words, first_words, starts = _split(
        level.list_ends,
        level.first_words,
        level.words,
        estimates.positions,
        estimates.log10_prob.view(np.uint32),
        estimates.log10_backoff.view(np.uint32),
        bucket_of_word,
        buckets,
        j < longest,
        j == 1,
    )
    return (
        Arrivals(contexts=contexts, entries=entries, words=words, first_words=first_words),
        starts,
    )


def order(levels: Sequence[Arrivals], first_word: int, end_word: int) -> Iterator[Rows]:
    """Puts the lists of one bucket into a model's order.

    Args:
        levels: the contexts of 1, 2, ..., n - 1 words, all shards one after the other. Every n-gram
            that does not end in `EOS` and is shorter than n has a context, be its list empty.
        first_word: the bucket's first word.
        end_word: the word after its last.

    Yields:
        The rows of levels 1, 2, ..., n; of level 1, a row for every word from `first_word` on,
        without positions and probabilities.
    """
    parents = levels[0].first_words - np.uint32(first_word)
    entries = np.empty(0, np.uint64)
    rows = end_word - first_word
    for j, level in enumerate(levels, 1):
        first_child, backoffs = _place(parents, level.contexts, rows)
        yield Rows(entries=entries, backoffs=backoffs, first_child=first_child)
        entries = _copy_lists(parents, first_child, level.contexts, level.entries)
        rows = len(entries)
        if j < len(levels):
            parents = _continue(
                parents, first_child, level.contexts, level.words, len(levels[j].contexts)
            )
    yield Rows(entries=entries, backoffs=np.empty(0, np.uint32), first_child=np.empty(0, np.uint32))


@njit(cache=True, nogil=True)
def _split(
    list_ends: Ids,
    first_words: Ids,
    words: Ids,
    positions: Ids,
    probs: Ids,
    backoffs: Ids,
    bucket_of_word: Ids,
    buckets: int,
    with_words: bool,
    with_first_words: bool,
) -> tuple[Uint64s, Uint64s, Ids, Ids, Offsets]:
    contexts = np.empty(len(list_ends), np.uint64)
    entries = np.empty(len(words), np.uint64)
    split_words = np.empty(len(words) if with_words else 0, np.uint32)
    split_first = np.empty(len(first_words) if with_first_words else 0, np.uint32)
    starts = np.zeros((buckets + 1, 2), np.int64)
    bucket_of = np.empty(len(list_ends), np.uint32)
    begin = np.uint32(0)
    for context in range(len(list_ends)):
        bucket = bucket_of_word[first_words[context]]
        bucket_of[context] = bucket
        starts[bucket + 1, 0] += 1
        starts[bucket + 1, 1] += list_ends[context] - begin
        begin = list_ends[context]
    for bucket in range(buckets):
        starts[bucket + 1, 0] += starts[bucket, 0]
        starts[bucket + 1, 1] += starts[bucket, 1]
    cursors = starts.copy()
    begin = np.uint32(0)
    for context in range(len(list_ends)):
        end = list_ends[context]
        bucket = bucket_of[context]
        target = cursors[bucket, 0]
        at = cursors[bucket, 1]
        contexts[target] = np.uint64(end - begin) | (np.uint64(backoffs[context]) << _HIGH)
        if with_first_words:
            split_first[target] = first_words[context]
        for i in range(begin, end):
            entries[at] = np.uint64(positions[i]) | (np.uint64(probs[i]) << _HIGH)
            if with_words:
                split_words[at] = words[i]
            at += 1
        cursors[bucket, 0] = target + 1
        cursors[bucket, 1] = at
        begin = end
    return contexts, entries, split_words, split_first, starts


@njit(cache=True, nogil=True)
def _place(parents: Ids, contexts: Uint64s, rows: int) -> tuple[Ids, Ids]:
    """Where the children of each row begin, uint32 [rows + 1], and its backoff, uint32 [rows]."""
    by_row = np.zeros(rows, np.uint64)
    for context in range(len(parents)):
        by_row[parents[context]] = contexts[context]
    first_child = np.empty(rows + 1, np.uint32)
    backoffs = np.empty(rows, np.uint32)
    child = np.uint64(0)
    for row in range(rows):
        first_child[row] = child
        child += by_row[row] & _LOW
        backoffs[row] = by_row[row] >> _HIGH
    first_child[rows] = child
    return first_child, backoffs


@njit(cache=True, nogil=True)
def _copy_lists(parents: Ids, first_child: Ids, contexts: Uint64s, entries: Uint64s) -> Uint64s:
    ordered = np.empty_like(entries)
    begin = np.int64(0)
    for context in range(len(parents)):
        row = np.int64(first_child[parents[context]])
        end = begin + np.int64(contexts[context] & _LOW)
        for i in range(begin, end):
            ordered[row] = entries[i]
            row += 1
        begin = end
    return ordered


@njit(cache=True, nogil=True)
def _continue(
    parents: Ids, first_child: Ids, contexts: Uint64s, words: Ids, continuations: int
) -> Ids:
    """The row that each context of the next level continues, uint32 [continuations]."""
    most = np.uint32(0)
    for word in words:
        most = max(most, word)
    cursors = np.zeros(np.int64(most) + 2, np.uint32)
    for word in words:
        cursors[word + np.uint32(1)] += np.uint32(word != EOS)
    for word in range(len(cursors) - 1):
        cursors[word + 1] += cursors[word]
    continued = np.empty(continuations, np.uint32)
    i = 0
    for context in range(len(parents)):
        row = first_child[parents[context]]
        for _ in range(contexts[context] & _LOW):
            word = words[i]
            if word != EOS:
                continued[cursors[word]] = row
                cursors[word] += np.uint32(1)
            row += np.uint32(1)
            i += 1
    return continued
