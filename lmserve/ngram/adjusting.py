"""Adjusting: one shard's records -> its trie of contexts, its n-grams, their adjusted counts.

A context is found by walking from its last word to its first. Level j of the trie holds the
contexts of j words; a row is (parent = row of the context without its first word, first word), and
rows are sorted. An n-gram of order k is (context = row in level k - 1, word), sorted likewise.

The row numbers themselves are the sort keys of the next level, so each level is one sort of
64-bit integers (row << 32 | word), whatever the order of the model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lmserve.ngram.counting import NO_WORD
from lmserve.ngram.grouping import Int64s, group
from lmserve.ngram.tables import Schema, as_numpy, open_table, write_table
from lmserve.text.word_table import Ids

_WORD_BITS = 32
_WORD_MASK = (1 << _WORD_BITS) - 1

CONTEXTS_SCHEMA = {"parent": pa.int64(), "word": pa.uint32()}
_COUNTS_SCHEMA = {f"t{count}": pa.int64() for count in range(1, 5)}
NGRAMS_SCHEMA = {
    "context": pa.int64(),
    "word": pa.uint32(),
    "count": pa.int64(),
    "adjusted": pa.int64(),
    "lower": pa.int64(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contexts:
    """The contexts of j words of one shard, C rows sorted by (parent, word).

    Attributes:
        parent: int64 [C], row in level j - 1; 0 where j = 1.
        word: uint32 [C], the context's first word.
    """

    parent: Int64s
    word: Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class NGrams:
    """The n-grams of order k of one shard, N rows sorted by (context, word).

    Attributes:
        context: int64 [N], row of the first k - 1 words in `Contexts` of level k - 1.
        word: uint32 [N], the last word.
        count: int64 [N], occurrences in the text.
        adjusted: int64 [N], the number of distinct words seen before the n-gram; its occurrences
            where k is the model's order, or where the n-gram begins with `<s>`.
        lower: int64 [N], row of the n-gram without its first word, in order k - 1; for k = 2 the
            id of the word.
    """

    context: Int64s
    word: Ids
    count: Int64s
    adjusted: Int64s
    lower: Int64s


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCounts:
    """What one shard knows of the model.

    Attributes:
        contexts: levels 1 .. n - 1 (`contexts[j - 1]` is level j).
        ngrams: orders 2 .. n (`ngrams[k - 2]` is order k).
    """

    contexts: list[Contexts]
    ngrams: list[NGrams]

    def totals(self, vocabulary_size: int) -> "ShardTotals":
        """What is summed over all shards."""
        return ShardTotals(
            counts_of_counts=np.stack([count_counts(ngrams.adjusted) for ngrams in self.ngrams]),
            followed=np.bincount(self.ngrams[0].word, minlength=vocabulary_size).astype(np.int64),
        )

    def save(self, folder: Path) -> None:
        """Writes the tables into an existing folder."""
        for j, level in enumerate(self.contexts, 1):
            columns = {"parent": level.parent, "word": level.word}
            write_table(folder / f"contexts-{j}.arrow", columns)
        for k, grams in enumerate(self.ngrams, 2):
            columns = {name: getattr(grams, name) for name in NGRAMS_SCHEMA}
            write_table(folder / f"ngrams-{k}.arrow", columns)

    @classmethod
    def open(cls, folder: Path, order: int) -> "ShardCounts":
        """Maps the tables that `save` wrote."""

        def read(name: str, schema: Schema) -> dict[str, Any]:
            columns = open_table(folder / name, schema)
            return {key: as_numpy(column) for key, column in columns.items()}

        contexts = [read(f"contexts-{j}.arrow", CONTEXTS_SCHEMA) for j in range(1, order)]
        ngrams = [read(f"ngrams-{k}.arrow", NGRAMS_SCHEMA) for k in range(2, order + 1)]
        return cls(
            contexts=[Contexts(**columns) for columns in contexts],
            ngrams=[NGrams(**columns) for columns in ngrams],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTotals:
    """The only things that must be summed over all shards before any of them can be smoothed.

    Attributes:
        counts_of_counts: int64 [n - 1, 4]; of orders 2 .. n, the n-grams with adjusted count 1, 2,
            3, 4.
        followed: int64 [V], in how many of this shard's bigrams each word is the last.
    """

    counts_of_counts: Int64s
    followed: Int64s

    def save(self, folder: Path) -> None:
        """Writes the totals into an existing folder."""
        counts = {name: self.counts_of_counts[:, i] for i, name in enumerate(_COUNTS_SCHEMA)}
        write_table(folder / "counts-of-counts.arrow", counts)
        write_table(folder / "followed.arrow", {"count": self.followed})

    @classmethod
    def open(cls, folder: Path) -> "ShardTotals":
        """Maps what `save` wrote."""
        counts = open_table(folder / "counts-of-counts.arrow", _COUNTS_SCHEMA)
        followed = open_table(folder / "followed.arrow", {"count": pa.int64()})
        return cls(
            counts_of_counts=np.stack([as_numpy(column) for column in counts.values()], axis=1),
            followed=as_numpy(followed["count"]),
        )


def count_counts(adjusted: Int64s) -> Int64s:
    """t_1 .. t_4, int64 [4]: how many of the adjusted counts are 1, 2, 3, 4."""
    return np.bincount(np.minimum(adjusted, 5), minlength=6)[1:5].astype(np.int64)


def adjust(columns: list[Ids], first_word: int, last_word: int) -> ShardCounts:
    """Builds one shard from its records.

    Args:
        columns: `order` columns, uint32 [N]: the word, then its context, the nearest word first;
            `NO_WORD` before the start of the sentence. In any order: the result does not depend
            on it.
        first_word: the shard's contexts end in words with ids in [first_word, last_word).
        last_word: see there.
    """
    contexts, grams_of_depth = _build_contexts(columns, first_word, last_word)
    return ShardCounts(contexts=contexts, ngrams=_build_ngrams(contexts, grams_of_depth))


def _build_contexts(
    columns: list[Ids], first_word: int, last_word: int
) -> tuple[list[Contexts], list[Int64s]]:
    """The trie, and per level j the keys (context << 32 | word) of records of just j context words.

    A record has fewer than order - 1 context words only at the start of a sentence.
    """
    word, nearest, *farther = columns
    words = np.arange(first_word, last_word, dtype=np.uint32)
    # Level 1 has a row for every word of the shard, seen as a context or not: no search there.
    contexts = [Contexts(parent=np.zeros(len(words), np.int64), word=words)]
    row = nearest.astype(np.int64) - first_word
    grams_of_depth = []
    while farther:
        further, *rest = farther
        deeper = further != NO_WORD
        grams_of_depth.append(_key(row[~deeper], word[~deeper]))
        keys, row, _ = group(_key(row[deeper], further[deeper]))
        contexts.append(Contexts(parent=keys >> _WORD_BITS, word=_word(keys)))
        word, *farther = (column[deeper] for column in (word, *rest))
    grams_of_depth.append(_key(row, word))
    return contexts, grams_of_depth


def _build_ngrams(contexts: list[Contexts], grams_of_depth: list[Int64s]) -> list[NGrams]:
    """n-grams from the highest order down: dropping the first word of each gives the next order.

    Each distinct (k + 1)-gram is one distinct word seen before its suffix: it adds 1 to the
    adjusted count. A k-gram that begins with `<s>` is the suffix of none; its occurrences count.
    """
    keys, _, count = group(grams_of_depth[-1])
    adjusted = count
    ngrams: list[NGrams] = []
    for level in range(len(contexts) - 1, 0, -1):
        context, word = keys >> _WORD_BITS, _word(keys)
        suffixes = _key(contexts[level].parent[context], word)
        starts = grams_of_depth[level - 1]
        keys, row, adjusted_below = group(np.concatenate((suffixes, starts)))
        lower = row[: len(suffixes)]
        ngrams.append(
            NGrams(context=context, word=word, count=count, adjusted=adjusted, lower=lower)
        )
        occurrences = np.concatenate((count, np.ones(len(starts), np.int64)))
        count = np.zeros(len(keys), np.int64)
        np.add.at(count, row, occurrences)
        adjusted = adjusted_below
    context, word = keys >> _WORD_BITS, _word(keys)
    lower = word.astype(np.int64)
    ngrams.append(NGrams(context=context, word=word, count=count, adjusted=adjusted, lower=lower))
    return ngrams[::-1]


def _key(row: Int64s, word: Ids) -> Int64s:
    return row << _WORD_BITS | word


def _word(keys: Int64s) -> Ids:
    return (keys & _WORD_MASK).astype(np.uint32)
