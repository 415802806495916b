"""Estimation: counted shards -> smoothed ones, and these -> buckets of a model.

Stage 4, `smooth_shard`: one shard's lists -> probabilities, filed by bucket.
Stage 5, `order_bucket`: all shards' part of one bucket -> its place in the model's tables.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.arrays import Array, ArrayFile, write_arrays
from lmserve.ngram.assembling import write_bucket
from lmserve.ngram.estimating import Estimates, Lists, estimate
from lmserve.ngram.layout import Layout
from lmserve.ngram.levels import Level
from lmserve.ngram.ordering import Arrivals, order, split
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.text.word_table import Offsets

# What is filed of each level: where buckets begin, and the columns of `Arrivals`.
_STARTS, _CONTEXTS, _FIRST_WORDS, _ENTRIES, _WORDS = range(5)
_ARRAYS = 5
_LEVELS = "levels.arrow"


@dataclass(frozen=True, slots=True)
class Filed:
    """How much a smoothed shard has filed under each bucket.

    Attributes:
        rows: by number of context words, n-grams in each bucket, int64 [B].
        longest: by number of context words, the longest list.
    """

    rows: dict[int, list[int]]
    longest: dict[int, int]

    @classmethod
    def read(cls, folder: Path) -> "Filed":
        """Reads what `write` wrote."""
        content = json.loads((folder / "filed.json").read_text())
        return cls(*({int(j): value for j, value in content[name].items()} for name in content))

    def file(
        self,
        level: Level,
        estimates: Estimates,
        j: int,
        longest: int,
        bucket_starts: npt.NDArray[np.int64],
    ) -> list[Array]:
        """Sorts smoothed contexts of j words, of at most `longest`, by bucket; what is filed."""
        buckets = len(bucket_starts) - 1
        bucket_of_word = np.repeat(np.arange(buckets, dtype=np.uint32), np.diff(bucket_starts))
        arrivals, starts = split(level, estimates, bucket_of_word, buckets, j=j, longest=longest)
        self.rows[j] = np.diff(starts[:, 1]).tolist()
        self.longest[j] = int(np.diff(level.list_ends, prepend=np.uint32(0)).max(initial=0))
        return [
            starts,
            arrivals.contexts,
            arrivals.first_words,
            arrivals.entries,
            arrivals.words,
        ]

    def write(self, folder: Path) -> None:
        """Writes it beside what is filed."""
        (folder / "filed.json").write_text(json.dumps({"rows": self.rows, "longest": self.longest}))


def smooth_shard(
    levels: Sequence[Level],
    parent: Lists,
    rules: Sequence[OrderRule],
    *,
    shortest: int,
    bucket_starts: npt.NDArray[np.int64],
    folder: Path,
) -> int:
    """Smooths one shard.

    Args:
        levels: its contexts of `shortest`, shortest + 1, ... words.
        parent: the list that all its contexts of `shortest` words have for their shorter one's.
        rules: of orders 1 .. n.
        shortest: words of its shortest contexts.
        bucket_starts: int64 [B + 1], ids of first words; the last is V.
        folder: an existing folder for what `order_bucket` reads.

    Returns:
        n-grams smoothed.
    """
    filed = Filed({}, {})

    def arrays() -> Iterator[Array]:
        above = parent
        for j, level in enumerate(levels, shortest):
            estimates = estimate(above, level, rules[j], int(bucket_starts[-1]))
            yield from filed.file(level, estimates, j, len(rules) - 1, bucket_starts)
            above = Lists(
                words=level.words,
                probability=estimates.probability,
                list_ends=level.list_ends,
                child_ends=level.child_ends,
            )

    if levels:
        write_arrays(folder / _LEVELS, arrays())
    filed.write(folder)
    return sum(len(level.words) for level in levels)


def file_shared(
    level: Level,
    estimates: Estimates,
    j: int,
    longest: int,
    bucket_starts: npt.NDArray[np.int64],
    folder: Path,
) -> None:
    """Files a smoothed context of j words, of at most `longest`, as `smooth_shard` files shards."""
    filed = Filed({}, {})
    write_arrays(folder / _LEVELS, filed.file(level, estimates, j, longest, bucket_starts))
    filed.write(folder)


def order_bucket(
    folders: Sequence[tuple[Path, int]],
    bucket: int,
    bucket_starts: npt.NDArray[np.int64],
    first_rows: npt.NDArray[np.int64],
    layout: Layout,
    model: Path,
    output: Path,
) -> int:
    """Brings one bucket of all shards into the order of a model and into its tables.

    Args:
        folders: of smoothed shards and shared contexts, in the order of their contexts; and how
            many words the shortest contexts filed there have.
        bucket: which.
        bucket_starts: int64 [B + 1], ids of first words.
        first_rows: int64 [n], where the bucket begins in levels 1 .. n.
        layout: of the model.
        model: folder with the laid-out tables.
        output: an existing folder for what `finish_tables` needs.

    Returns:
        n-grams, those of one word not among them.
    """
    files = [
        (shortest, ArrayFile(folder / _LEVELS))
        for folder, shortest in folders
        if shortest < len(first_rows)
    ]
    levels = [_arrivals(files, j, len(first_rows) - 1, bucket) for j in range(1, len(first_rows))]
    first, end = int(bucket_starts[bucket]), int(bucket_starts[bucket + 1])
    rows = list(order(levels, first, end))
    write_bucket(rows, [*first_rows.tolist(), 0], layout, model, output)
    return sum(len(level.positions) for level in rows)


def _arrivals(
    files: Sequence[tuple[int, ArrayFile]], j: int, longest: int, bucket: int
) -> Arrivals:
    """What files hold of the contexts of j words in a bucket; each begins with so many words."""
    parts: list[tuple[ArrayFile, int, Offsets]] = []
    for shortest, file in files:
        first_array = (j - shortest) * _ARRAYS
        if 0 <= first_array < len(file):
            bounds = np.empty((2, 2), np.int64)
            file.read(first_array + _STARTS, 2 * bucket, bounds)
            parts.append((file, first_array, bounds))
    contexts, words = sum((bounds[1] - bounds[0] for _, _, bounds in parts), np.zeros(2, np.int64))
    arrivals = Arrivals(
        contexts=np.empty(contexts, np.uint64),
        first_words=np.empty(contexts if j == 1 else 0, np.uint32),
        entries=np.empty(words, np.uint64),
        words=np.empty(words if j < longest else 0, np.uint32),
    )
    context = word = 0
    for file, first_array, ((first_context, first_word), (end_context, end_word)) in parts:
        to_contexts = slice(context, context := context + end_context - first_context)
        to_words = slice(word, word := word + end_word - first_word)
        file.read(first_array + _CONTEXTS, first_context, arrivals.contexts[to_contexts])
        file.read(first_array + _ENTRIES, first_word, arrivals.entries[to_words])
        if j == 1:
            file.read(first_array + _FIRST_WORDS, first_context, arrivals.first_words[to_contexts])
        if j < longest:
            file.read(first_array + _WORDS, first_word, arrivals.words[to_words])
    return arrivals
