"""Counts of n-grams as Parquet files, for whoever reads Parquet.

A table has one row for each n-gram:

    ngram           string, the words separated by spaces
    count           int64, how often it stands in the text
    adjusted_count  int64, how many distinct words stand before it; the count where it begins with
                    <s> or has the highest order

Parts in the order of their numbers hold the rows by context, read backwards, then word, where words
are in the order of their hashes.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmserve.errors import CorruptModelError
from lmserve.ngram.levels import Level
from lmserve.ngram.sharding import Prefix
from lmserve.ngram.spelling import join, spell_context, spell_rows
from lmserve.ngram.tables import partial_name

# Begins with an underscore, so that readers of whole folders take it for none of the data.
COUNTS_FILE = "_counts.json"
_SCHEMA = pa.schema(
    [
        pa.field("ngram", pa.large_string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("adjusted_count", pa.int64(), nullable=False),
    ]
)
# What is the same in many rows.
_REPEATING = ["count", "adjusted_count"]
_ROWS_PER_GROUP = 1 << 18

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What a folder of counts holds, and of which text; kept in it as `COUNTS_FILE`.

    Attributes:
        order: n, words of the longest n-grams.
        min_count: n-grams that occur less often have no row.
        special_tokens: what was done about `<s>`, `</s>`, `<unk>` in the text.
        inputs: files and patterns, as they were given.
        sentences: of the text.
        words: of the text, sentence ends not included.
        words_not_utf8: distinct words that are written with � for what is no UTF-8 in them.
        rows: of orders 1 .. n.
        lmserve: the version that counted.
    """

    order: int
    min_count: int
    special_tokens: str
    inputs: list[str]
    sentences: int
    words: int
    words_not_utf8: int
    rows: list[int]
    lmserve: str

    @classmethod
    def read(cls, folder: Path) -> "Counts":
        """Reads what `write` wrote."""
        path = folder / COUNTS_FILE
        try:
            written = path.read_bytes()
        except OSError as error:
            raise _damaged(str(folder), error) from error
        return cls.parse(written, str(folder))

    @classmethod
    def parse(cls, written: bytes, place: str) -> "Counts":
        """What `write` wrote into the folder `place`."""
        try:
            return cls(**json.loads(written))
        except (ValueError, TypeError) as error:
            raise _damaged(place, error) from error

    def write(self, folder: Path) -> None:
        """Writes it into the folder of the counts."""
        (folder / COUNTS_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")


def _damaged(place: str, error: Exception) -> CorruptModelError:
    return CorruptModelError(
        f"{place}/{COUNTS_FILE} is missing or damaged: {error}",
        "Count again, or copy the folder again.",
    )


def part_name(order: int, number: int) -> str:
    """The name of a part in a folder of counts."""
    return f"order={order}/part-{number:05}.parquet"


def write_shard(
    levels: Sequence[Level], prefix: Prefix, words: pa.Array, *, min_count: int, folder: Path
) -> int:
    """Writes the n-grams of one shard, as `ORDER.parquet`; no file where there are none.

    Args:
        levels: contexts of d + 1, d + 2, ... words, with adjusted and raw counts.
        prefix: the d words that all these contexts end with, the nearest first.
        words: `large_string` [V].
        min_count: n-grams that occur less often are left out.
        folder: an existing folder.

    Returns:
        Rows written.
    """
    rows = 0
    for i in range(1, len(levels) + 1):
        path = folder / f"{len(prefix) + i + 1}.parquet"
        rows += write_part(path, _level_batches(levels[:i], prefix, words, min_count))
    return rows


def write_list(
    path: Path, prefix: Prefix, counts: Int64s, words: pa.Array, *, min_count: int
) -> None:
    """Writes the list of one context; no file where it is empty.

    Args:
        path: the file to write.
        prefix: words of the context, the nearest first.
        counts: int64 [2, V], counts as the order uses them (adjusted, say) and raw ones.
        words: `large_string` [V].
        min_count: n-grams that occur less often are left out.
    """
    (ids,) = np.nonzero(counts[1] >= max(min_count, 1))
    context = spell_context(prefix, words)

    def batches() -> Iterator[pa.RecordBatch]:
        for begin in range(0, len(ids), _ROWS_PER_GROUP):
            some = ids[begin : begin + _ROWS_PER_GROUP]
            ngrams = join(context, words.take(pa.array(some)))
            yield _batch(ngrams, counts[1, some], counts[0, some])

    write_part(path, batches())


def write_part(
    path: Path, batches: Iterable[pa.RecordBatch], *, even_if_empty: bool = False
) -> int:
    """Writes batches, by an atomic rename; unless told, no file where they have no rows.

    Returns:
        Rows written.
    """
    groups = _row_groups(batches)
    first = next(groups, None)
    if first is None and not even_if_empty:
        return 0
    partial = partial_name(path)
    # Without Arrow's own schema, in which strings are `large`: readers are to find plain ones.
    with pq.ParquetWriter(
        partial, _SCHEMA, compression="zstd", use_dictionary=_REPEATING, store_schema=False
    ) as writer:
        rows = 0
        for group in itertools.chain([_SCHEMA.empty_table() if first is None else first], groups):
            writer.write_table(group)
            rows += len(group)
    partial.rename(path)
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Puts together what is small because rare n-grams are left out."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows >= _ROWS_PER_GROUP:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting)


def _level_batches(
    levels: Sequence[Level], prefix: Prefix, words: pa.Array, min_count: int
) -> Iterator[pa.RecordBatch]:
    """The rows of the last level."""
    level = levels[-1]
    assert level.raw_counts is not None
    for begin in range(0, len(level.words), _ROWS_PER_GROUP):
        end = min(begin + _ROWS_PER_GROUP, len(level.words))
        ngrams = spell_rows(levels, prefix, words, begin, end)
        batch = _batch(ngrams, level.raw_counts[begin:end], level.counts[begin:end])
        yield batch.filter(pc.greater_equal(batch["count"], min_count))


def _batch(
    ngrams: pa.Array, counts: npt.NDArray[np.integer], adjusted: npt.NDArray[np.integer]
) -> pa.RecordBatch:
    columns = [ngrams, *(pa.array(column.astype(np.int64)) for column in (counts, adjusted))]
    return pa.record_batch(columns, schema=_SCHEMA)
