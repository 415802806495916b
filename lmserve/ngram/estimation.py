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
import pyarrow as pa

from lmserve.ngram.assembling import write_bucket
from lmserve.ngram.estimating import Estimates, Lists, estimate
from lmserve.ngram.layout import Layout
from lmserve.ngram.levels import Level
from lmserve.ngram.ordering import Arrivals, order, split
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.ngram.tables import as_numpy, open_batches, write_batches

# The columns of `Arrivals`: batch b * 4 + i of a level's file is column i of bucket b.
_COLUMNS = {
    "contexts": np.uint64,
    "first_words": np.uint32,
    "entries": np.uint64,
    "words": np.uint32,
}
_BITS = "bits"


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

    def write(self, folder: Path) -> None:
        """Writes it beside the files."""
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
    for j, level in enumerate(levels, shortest):
        estimates = estimate(parent, level, rules[j], int(bucket_starts[-1]))
        file_level(level, estimates, j, len(rules) - 1, bucket_starts, folder, filed)
        parent = Lists(
            words=level.words,
            probability=estimates.probability,
            list_ends=level.list_ends,
            child_ends=level.child_ends,
        )
    filed.write(folder)
    return sum(len(level.words) for level in levels)


def file_level(
    level: Level,
    estimates: Estimates,
    j: int,
    longest: int,
    bucket_starts: npt.NDArray[np.int64],
    folder: Path,
    filed: Filed,
) -> None:
    """Files the smoothed contexts of j words, of at most `longest`, by bucket; notes how many."""
    buckets = len(bucket_starts) - 1
    bucket_of_word = np.repeat(np.arange(buckets, dtype=np.uint32), np.diff(bucket_starts))
    arrivals, starts = split(level, estimates, bucket_of_word, buckets, j=j, longest=longest)

    def batches() -> Iterator[pa.RecordBatch]:
        for bucket in range(buckets):
            (context, word), (end_context, end_word) = starts[bucket], starts[bucket + 1]
            for column in (
                arrivals.contexts[context:end_context],
                arrivals.first_words[context:end_context],
                arrivals.entries[word:end_word],
                arrivals.words[word:end_word],
            ):
                yield pa.record_batch([column.view(np.uint32)], [_BITS])

    write_batches(folder / f"level-{j}.arrow", batches())
    filed.rows[j] = np.diff(starts[:, 1]).tolist()
    filed.longest[j] = int(np.diff(level.list_ends, prepend=np.uint32(0)).max(initial=0))


def order_bucket(
    folders: Sequence[Path],
    bucket: int,
    bucket_starts: npt.NDArray[np.int64],
    first_rows: npt.NDArray[np.int64],
    layout: Layout,
    model: Path,
    output: Path,
) -> int:
    """Brings one bucket of all shards into the order of a model and into its tables.

    Args:
        folders: of smoothed shards and shared contexts, in the order of their contexts.
        bucket: which.
        bucket_starts: int64 [B + 1], ids of first words.
        first_rows: int64 [n], where the bucket begins in levels 1 .. n.
        layout: of the model.
        model: folder with the laid-out tables.
        output: an existing folder for what `finish_tables` needs.

    Returns:
        n-grams, those of one word not among them.
    """
    levels = [_arrivals(folders, j, bucket) for j in range(1, len(first_rows))]
    first, end = int(bucket_starts[bucket]), int(bucket_starts[bucket + 1])
    rows = list(order(levels, first, end))
    write_bucket(rows, [*first_rows.tolist(), 0], layout, model, output)
    return sum(len(level.positions) for level in rows)


def _arrivals(folders: Sequence[Path], j: int, bucket: int) -> Arrivals:
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in _COLUMNS}
    for folder in folders:
        path = folder / f"level-{j}.arrow"
        if path.exists():
            reader = open_batches(path)
            for i, (name, kind) in enumerate(_COLUMNS.items()):
                column = reader.get_batch(bucket * len(_COLUMNS) + i).column(0)
                parts[name].append(as_numpy(column).view(kind))
    columns = {name: np.concatenate([*parts[name], np.empty(0, _COLUMNS[name])]) for name in parts}
    return Arrivals(**columns)
