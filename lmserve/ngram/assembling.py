"""Assembling: smoothed shards -> the model's two tables.

The tables are a trie in breadth-first order. `contexts` holds the empty context, then all contexts
of one word (a row for every vocabulary word), then those of two, each level sorted by the context
read backwards; `ngrams` holds order 1 (a row for every vocabulary word), then order 2, and so on,
sorted by context, then word. Children and n-grams of row r are then the rows from
`first_child[r]` to `first_child[r + 1]`, and from `first_ngram[r]` to `first_ngram[r + 1]`. A last
row closes the last range.

Shards are ranges of the contexts' last words, so putting them one after the other gives this order,
however many they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.adjusting import ShardCounts
from lmserve.ngram.discounting import Discounts
from lmserve.ngram.grouping import Int64s
from lmserve.ngram.manifest import CONTEXTS_FILE, CONTEXTS_SCHEMA, NGRAMS_FILE, NGRAMS_SCHEMA
from lmserve.ngram.smoothing import Floats, Smoothing, log10, smooth
from lmserve.ngram.tables import Array, Schema, as_numpy, open_table, write_table
from lmserve.text.word_table import Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothedLevel:
    """The contexts of j words of one shard and the n-grams of order j + 1 after them.

    Attributes:
        context_word: uint32 [C], the context's first word.
        first_child: int64 [C], row of its first child in the shard's next level.
        first_ngram: int64 [C], row of its first n-gram in the shard's order j + 1.
        log10_backoff: float64 [C].
        word: uint32 [N], the n-grams' last words.
        log10_prob: float64 [N].
    """

    context_word: Ids
    first_child: Int64s
    first_ngram: Int64s
    log10_backoff: Floats
    word: Ids
    log10_prob: Floats


def smooth_shard(
    shard: ShardCounts,
    smoothing: Smoothing,
    discounts: Sequence[Discounts],
    unigram_probability: Floats,
) -> list[SmoothedLevel]:
    """Probabilities and backoff weights of one shard, levels 1 .. n - 1.

    Args:
        shard: its counts.
        smoothing: which formula.
        discounts: of orders 1 .. n.
        unigram_probability: float64 [V].
    """
    levels = []
    lower_probability = unigram_probability
    for j, (contexts, ngrams) in enumerate(zip(shard.contexts, shard.ngrams, strict=True), 1):
        rows = np.arange(len(contexts.word) + 1)
        first_ngram = np.searchsorted(ngrams.context, rows)
        children = shard.contexts[j].parent if j < len(shard.contexts) else np.empty(0, np.int64)
        lower_probability, backoff = smooth(
            first_ngram,
            smoothing.counts(ngrams),
            ngrams.lower,
            lower_probability,
            np.array(discounts[j]),
        )
        levels.append(
            SmoothedLevel(
                context_word=contexts.word,
                first_child=np.searchsorted(children, rows[:-1]),
                first_ngram=first_ngram[:-1],
                log10_backoff=log10(backoff),
                word=ngrams.word,
                log10_prob=log10(lower_probability),
            )
        )
    return levels


def save_levels(levels: list[SmoothedLevel], folder: Path) -> None:
    """Writes a smoothed shard into an existing folder."""
    for j, level in enumerate(levels, 1):
        contexts = {
            "word": level.context_word,
            "first_child": level.first_child,
            "first_ngram": level.first_ngram,
            "log10_backoff": level.log10_backoff,
        }
        write_table(folder / f"contexts-{j}.arrow", contexts)
        ngrams = {"word": level.word, "log10_prob": level.log10_prob}
        write_table(folder / f"ngrams-{j + 1}.arrow", ngrams)


def open_level(folder: Path, j: int) -> SmoothedLevel:
    """Maps level `j` of what `save_levels` wrote."""
    contexts = open_table(folder / f"contexts-{j}.arrow", CONTEXTS_SCHEMA)
    ngrams = open_table(folder / f"ngrams-{j + 1}.arrow", NGRAMS_SCHEMA)
    return SmoothedLevel(
        context_word=as_numpy(contexts["word"]),
        first_child=as_numpy(contexts["first_child"]),
        first_ngram=as_numpy(contexts["first_ngram"]),
        log10_backoff=as_numpy(contexts["log10_backoff"]),
        word=as_numpy(ngrams["word"]),
        log10_prob=as_numpy(ngrams["log10_prob"]),
    )


def assemble(
    shard_folders: Sequence[Path], order: int, unigram_log10_prob: Floats, output: Path
) -> tuple[list[int], list[int]]:
    """Puts the shards together.

    Args:
        shard_folders: smoothed shards, by rising words.
        order: n; with n = 1 there are no shards.
        unigram_log10_prob: float64 [V].
        output: folder to write `CONTEXTS_FILE` and `NGRAMS_FILE` to.

    Returns:
        Numbers of n-grams of orders 1 .. n, and of contexts of 0 .. n - 1 words.
    """
    levels = [[open_level(folder, j) for folder in shard_folders] for j in range(1, order)]
    n_ngrams = [len(unigram_log10_prob), *(sum(len(s.word) for s in level) for level in levels)]
    n_contexts = [1, *(sum(len(s.context_word) for s in level) for level in levels)]
    contexts = _columns(output, "contexts", CONTEXTS_SCHEMA, sum(n_contexts) + 1)
    ngrams = _columns(output, "ngrams", NGRAMS_SCHEMA, sum(n_ngrams))
    ngrams["word"][: n_ngrams[0]] = np.arange(n_ngrams[0])
    ngrams["log10_prob"][: n_ngrams[0]] = unigram_log10_prob
    contexts["first_child"][0] = 1
    row, gram = 1, n_ngrams[0]
    for j, level in enumerate(levels, 1):
        child = sum(n_contexts[: j + 1])
        for i, shard in enumerate(level):
            rows = slice(row, row + len(shard.context_word))
            contexts["word"][rows] = shard.context_word
            contexts["first_child"][rows] = shard.first_child + child
            contexts["first_ngram"][rows] = shard.first_ngram + gram
            contexts["log10_backoff"][rows] = shard.log10_backoff
            grams = slice(gram, gram + len(shard.word))
            ngrams["word"][grams] = shard.word
            ngrams["log10_prob"][grams] = shard.log10_prob
            row, gram = rows.stop, grams.stop
            child += len(levels[j][i].context_word) if j < len(levels) else 0
    contexts["first_child"][row] = row
    contexts["first_ngram"][row] = gram
    write_table(output / CONTEXTS_FILE, contexts)
    write_table(output / NGRAMS_FILE, ngrams)
    for column in output.glob("*.column"):
        column.unlink()
    return n_ngrams, n_contexts


def _columns(folder: Path, table: str, schema: Schema, rows: int) -> dict[str, Array]:
    """Zeroed columns backed by files, so that the tables may be larger than memory."""
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name, kind in schema.items():
        path = folder / f"{table}-{name}.column"
        columns[name] = np.memmap(path, kind.to_pandas_dtype(), "w+", shape=(rows,))
    return columns
