"""The worker that counts and estimates, one piece or shard at a time; Ray makes actors of it.

It keeps nothing but compiled kernels and the mapped vocabulary, all else is in the build's folder:
one that dies is replaced, and its task simply done again.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.allocation import keep_freed_memory
from cluster.costs import Meter, TaskReport
from cluster.starts import tell_start
from cluster.workspace import Workspace
from lmserve.ngram.counting import (
    count_shard,
    give_up_levels,
    open_levels,
    save_contexts,
    scatter_piece,
    survey_piece,
    tokenize_piece,
)
from lmserve.ngram.counts import write_shard
from lmserve.ngram.estimating import Lists
from lmserve.ngram.estimation import order_bucket, smooth_shard
from lmserve.ngram.layout import Layout
from lmserve.ngram.records import RecordLayout
from lmserve.ngram.sharding import Prefix, Sharding
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.ngram.tables import as_numpy, open_table, partial_name, write_table
from lmserve.ngram.vocabulary import Vocabulary, vocabulary_files
from lmserve.removing import remove
from lmserve.text.sources import Piece
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Segment, Tokenization

PARENT_SCHEMA = {"word": pa.uint32(), "probability": pa.float64()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Counting:
    """How shards are counted.

    Attributes:
        adjusted: count adjusted, else raw.
        keep_raw: keep raw counts beside adjusted ones.
        thresholds: int64 [n], of pruning.
        key: names all this.
    """

    adjusted: bool
    keep_raw: bool
    thresholds: npt.NDArray[np.int64]
    key: str

    @property
    def pruned(self) -> bool:
        """Whether anything may be left out."""
        return bool(self.thresholds.any())


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoothing:
    """How shards are smoothed.

    Attributes:
        counting: how they were counted.
        rules: of orders 1 .. n.
        bucket_starts: int64 [B + 1], ids of first words.
        key: names all this.
    """

    counting: Counting
    rules: list[OrderRule]
    bucket_starts: npt.NDArray[np.int64]
    key: str


class NgramWorker:
    """Does the stages of a build, piece by piece and shard by shard.

    Args:
        open_files: opens the build's folder on this machine.
        order: n.
        number: of this worker among all, if it has a process of its own.
    """

    def __init__(
        self, open_files: Callable[[], Workspace], order: int, number: int | None = None
    ) -> None:
        self._files = open_files()
        self._order = order
        self._number = number or 0
        tell_start(self._files, self._number)
        self._opened: Vocabulary | None = None
        keep_freed_memory()
        if number is not None:
            # What is imported stays; to look through it for garbage takes a tenth of a second.
            gc.freeze()
        self._segment: Segment | None = None

    def tokenize(
        self, piece: Piece, special_tokens: SpecialTokens, tokenization: Tokenization
    ) -> TaskReport:
        """Stage 1 for one piece."""
        tokens, words = self._files.tokens(piece.index), self._files.words(piece.index)

        def count() -> int:
            if self._segment is None:
                if tokenization.file_name:
                    self._files.need(self._files.model / tokenization.file_name)
                self._segment = tokenization.open(self._files.model)
            rows = tokenize_piece(piece, special_tokens, tokens, words, self._segment)
            self._files.share(tokens, words)
            return rows

        return self._once(words, count)

    def survey(self, piece: int, prefixes: list[Prefix], key: str) -> TaskReport:
        """Between stages 1 and 2: what the records of contexts too large for a shard go on with."""
        tokens, words = self._files.tokens(piece), self._files.words(piece)
        output = self._files.survey(piece, key)

        def count() -> int:
            self._files.need(tokens, words)
            counts = survey_piece(
                tokens, words, self._vocabulary, order=self._order, prefixes=prefixes
            )
            write_table(output, {"count": counts.reshape(-1)})
            self._files.share(output)
            return int(counts.sum())

        return self._once(output, count)

    def scatter(self, piece: int, sharding: Sharding) -> TaskReport:
        """Stage 2 for one piece."""
        tokens, words = self._files.tokens(piece), self._files.words(piece)
        records = self._files.records(piece)

        def scatter() -> int:
            self._files.need(tokens, words)
            rows = scatter_piece(
                tokens, words, self._vocabulary, sharding=sharding, records_path=records
            )
            self._files.share_records(piece, len(sharding))
            self._files.drop(tokens, words)
            return rows

        return self._once(records, scatter)

    def count(self, shard: int, sharding: Sharding, pieces: int, how: Counting) -> TaskReport:
        """Stage 3 for one shard."""
        output = self._files.counts(shard, how.key)

        def collect(folder: Path) -> int:
            layout = RecordLayout(self._order, len(self._vocabulary))
            contexts = count_shard(
                self._files.read_records(pieces, shard, sharding, layout.columns),
                layout,
                depth=len(sharding.shards[shard].prefix),
                adjusted=how.adjusted,
                keep_raw=how.keep_raw,
            )
            return save_contexts(contexts, how.thresholds, folder)

        def count() -> int:
            rows = _write_folder(output, collect)
            self._files.share(output)
            return rows

        return self._once(output, count)

    def smooth(self, shard: int, sharding: Sharding, how: Smoothing) -> TaskReport:
        """Stage 4 for one shard, whose counts it uses up."""
        output = self._files.smoothed(shard, how.key)
        counts = self._files.counts(shard, how.counting.key)
        prefix = sharding.shards[shard].prefix
        parent_table = self._files.parent(sharding.split.index(prefix), how.key)
        shortest = len(prefix) + 1

        def estimate(folder: Path) -> int:
            table = open_table(parent_table, PARENT_SCHEMA)
            levels = open_levels(counts, max(self._order - shortest, 0), pruned=how.counting.pruned)
            parent = Lists(
                words=as_numpy(table["word"]),
                probability=as_numpy(table["probability"]).copy(),
                list_ends=np.array([len(table["word"])], np.uint32),
                child_ends=np.array([len(levels[0].list_ends) if levels else 0], np.uint32),
            )
            return smooth_shard(
                levels,
                parent,
                how.rules,
                shortest=shortest,
                bucket_starts=how.bucket_starts,
                folder=folder,
                spares=self._files.spares,
            )

        def smooth() -> int:
            self._files.need(parent_table, counts)
            rows = _write_folder(output, estimate)
            self._files.share_filed(output, shortest, self._order - 1)
            return rows

        report = self._once(output, smooth)
        give_up_levels(counts, self._files.spares)
        return report

    def order(
        self,
        bucket: int,
        folders: Sequence[tuple[Path, int]],
        bucket_starts: npt.NDArray[np.int64],
        first_rows: npt.NDArray[np.int64],
        layout: Layout,
        key: str,
    ) -> TaskReport:
        """Stage 5 for one bucket, of folders whose names are relative to the build's."""
        output = self._files.bucket(bucket, key)
        words = range(int(bucket_starts[bucket]), int(bucket_starts[bucket + 1]))

        def place(folder: Path) -> int:
            levels = self._files.read_filed(
                [(self._files.folder / name, shortest) for name, shortest in folders],
                self._order - 1,
                bucket,
                len(bucket_starts) - 1,
            )
            columns = self._files.columns_for(folder)
            return order_bucket(levels, words, first_rows, layout, columns, folder)

        def order() -> int:
            rows = _write_folder(output, place)
            self._files.share(output)
            return rows

        return self._once(output, order)

    def export(self, shard: int, sharding: Sharding, how: Counting, min_count: int) -> TaskReport:
        """The counts of one shard, as Parquet."""
        output = self._files.exported(shard)
        counts = self._files.counts(shard, how.key)
        readable_words = self._files.readable_words
        prefix = sharding.shards[shard].prefix

        def write(folder: Path) -> int:
            words = open_table(readable_words, {"word": pa.large_string()})["word"]
            depth = max(self._order - len(prefix) - 1, 0)
            levels = open_levels(counts, depth, pruned=how.pruned, raw=True)
            return write_shard(levels, prefix, words, min_count=min_count, folder=folder)

        def export() -> int:
            self._files.need(readable_words, counts)
            rows = _write_folder(output, write)
            self._files.share(output)
            return rows

        return self._once(output, export)

    def _once(self, output: Path, task: Callable[[], int]) -> TaskReport:
        """Does a task, which tells how many rows it made, unless its output exists already."""
        self._files.check_seen()
        meter = Meter(self._files.traffic)
        rows = task() if self._files.undone([output]) else 0
        return TaskReport(rows=rows, cost=meter.cost(), began_s=meter.began_s, worker=self._number)

    @property
    def _vocabulary(self) -> Vocabulary:
        if self._opened is None:
            self._files.need(*vocabulary_files(self._files.model))
            self._opened = Vocabulary.open(self._files.model)
        return self._opened


def _write_folder(output: Path, write: Callable[[Path], int]) -> int:
    """Fills a folder that appears under its name only when complete; returns what `write` does."""
    partial = partial_name(output)
    partial.mkdir()
    rows = write(partial)
    try:
        partial.rename(output)
    except OSError:
        # The same task, run twice at once after a lost connection, has just finished elsewhere.
        if not output.exists():
            raise
        remove(partial)
    return rows
