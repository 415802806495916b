"""Estimation: counted shards -> smoothed ones, and these -> buckets of a model.

Stage 4, `smooth_shard`: one shard's lists -> probabilities, filed by bucket.
Stage 5, `order_bucket`: all shards' part of one bucket -> its place in the model's tables.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.assembling import TableColumns, write_bucket
from lmserve.ngram.estimating import Lists, estimate
from lmserve.ngram.filing import filing
from lmserve.ngram.layout import Layout
from lmserve.ngram.levels import Level
from lmserve.ngram.ordering import Arrivals, order
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.ngram.spares import Spares


def smooth_shard(
    levels: Sequence[Level],
    parent: Lists,
    rules: Sequence[OrderRule],
    *,
    shortest: int,
    bucket_starts: npt.NDArray[np.int64],
    folder: Path,
    spares: Spares,
) -> int:
    """Smooths one shard.

    Args:
        levels: its contexts of `shortest`, shortest + 1, ... words.
        parent: the list that all its contexts of `shortest` words have for their shorter one's.
        rules: of orders 1 .. n.
        shortest: words of its shortest contexts.
        bucket_starts: int64 [B + 1], ids of first words; the last is V.
        folder: an existing folder for what `order_bucket` reads.
        spares: files that may be written over.

    Returns:
        n-grams smoothed.
    """
    with filing(folder, bucket_starts, len(rules) - 1, spares) as file:
        for j, level in enumerate(levels, shortest):
            estimates = estimate(parent, level, rules[j], int(bucket_starts[-1]))
            file(level, estimates, j)
            parent = Lists(
                words=level.words,
                probability=estimates.probability,
                list_ends=level.list_ends,
                child_ends=level.child_ends,
            )
    return sum(len(level.words) for level in levels)


def order_bucket(
    levels: Sequence[Arrivals],
    words: range,
    first_rows: npt.NDArray[np.int64],
    layout: Layout,
    tables: TableColumns,
    output: Path,
) -> int:
    """Brings one bucket of all shards into the order of a model and into its tables.

    Args:
        levels: the bucket's contexts of 1, 2, ... words.
        words: ids of first words in the bucket.
        first_rows: int64 [n], where the bucket begins in levels 1 .. n.
        layout: of the model.
        tables: where the rows go.
        output: an existing folder for what `finish_tables` needs.

    Returns:
        n-grams, those of one word not among them.
    """
    rows = list(order(levels, words.start, words.stop))
    write_bucket(rows, [*first_rows.tolist(), 0], layout, tables, output)
    return sum(len(level.positions) for level in rows)
