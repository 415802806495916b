"""The worker that counts and estimates, one piece or shard at a time; Ray makes actors of it.

It keeps nothing but compiled kernels and the mapped vocabulary, all else is on disk: one that dies
is replaced, and its task simply done again.
"""

import shutil
import socket
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
from lmserve.errors import BuildError
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
from lmserve.ngram.sharding import Prefix, Sharding
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.ngram.tables import as_numpy, open_table, partial_name, write_table
from lmserve.ngram.vocabulary import Vocabulary
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
        folder: of the build.
        order: n.
        number: of this worker among all.
    """

    def __init__(self, folder: str, order: int, number: int = 0) -> None:
        self._files = Workspace(Path(folder))
        self._order = order
        self._number = number
        tell_start(self._files, number)
        self._opened: Vocabulary | None = None
        keep_freed_memory()
        self._segment: Segment | None = None

    def tokenize(
        self, piece: Piece, special_tokens: SpecialTokens, tokenization: Tokenization
    ) -> TaskReport:
        """Stage 1 for one piece."""
        tokens, words = self._files.tokens(piece.index), self._files.words(piece.index)

        def count() -> int:
            if self._segment is None:
                self._segment = tokenization.open(self._files.model)
            return tokenize_piece(piece, special_tokens, tokens, words, self._segment)

        return self._once(words, count)

    def survey(self, piece: int, prefixes: list[Prefix], key: str) -> TaskReport:
        """Between stages 1 and 2: what the records of contexts too large for a shard go on with."""
        output = self._files.survey(piece, key)

        def count() -> int:
            counts = survey_piece(
                self._files.tokens(piece),
                self._files.words(piece),
                self._vocabulary,
                order=self._order,
                prefixes=prefixes,
            )
            write_table(output, {"count": counts.reshape(-1)})
            return int(counts.sum())

        return self._once(output, count)

    def scatter(self, piece: int, sharding: Sharding) -> TaskReport:
        """Stage 2 for one piece."""
        records = self._files.records(piece)
        return self._once(
            records,
            lambda: scatter_piece(
                self._files.tokens(piece),
                self._files.words(piece),
                self._vocabulary,
                sharding=sharding,
                records_path=records,
            ),
        )

    def count(self, shard: int, sharding: Sharding, pieces: int, how: Counting) -> TaskReport:
        """Stage 3 for one shard."""
        output = self._files.counts(shard, how.key)
        records = [self._files.records(piece) for piece in range(pieces)]

        def collect(folder: Path) -> int:
            contexts = count_shard(
                records,
                shard,
                sharding,
                len(self._vocabulary),
                adjusted=how.adjusted,
                keep_raw=how.keep_raw,
            )
            return save_contexts(contexts, how.thresholds, folder)

        return self._once(output, lambda: _write_folder(output, collect))

    def smooth(self, shard: int, sharding: Sharding, how: Smoothing) -> TaskReport:
        """Stage 4 for one shard, whose counts it uses up."""
        output = self._files.smoothed(shard, how.key)
        counts = self._files.counts(shard, how.counting.key)
        prefix = sharding.shards[shard].prefix
        shortest = len(prefix) + 1

        def estimate(folder: Path) -> int:
            number = sharding.split.index(prefix)
            table = open_table(self._files.parent(number, how.key), PARENT_SCHEMA)
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

        report = self._once(output, lambda: _write_folder(output, estimate))
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
        """Stage 5 for one bucket."""
        output = self._files.bucket(bucket, key)

        def place(folder: Path) -> int:
            return order_bucket(
                folders, bucket, bucket_starts, first_rows, layout, self._files.model, folder
            )

        return self._once(output, lambda: _write_folder(output, place))

    def export(self, shard: int, sharding: Sharding, how: Counting, min_count: int) -> TaskReport:
        """The counts of one shard, as Parquet."""
        output = self._files.exported(shard)
        prefix = sharding.shards[shard].prefix

        def write(folder: Path) -> int:
            words = open_table(self._files.readable_words, {"word": pa.large_string()})["word"]
            levels = open_levels(
                self._files.counts(shard, how.key),
                max(self._order - len(prefix) - 1, 0),
                pruned=how.pruned,
                raw=True,
            )
            return write_shard(levels, prefix, words, min_count=min_count, folder=folder)

        return self._once(output, lambda: _write_folder(output, write))

    def _once(self, output: Path, task: Callable[[], int]) -> TaskReport:
        """Does a task, which tells how many rows it made, unless its output exists already."""
        if not self._files.plan_file.exists():
            raise BuildError(
                f"the machine {socket.gethostname()} does not see {str(self._files.folder)!r}: it "
                "is on another machine",
                "On several machines, give an --output, or a --temp-dir, on storage that all of "
                "them share.",
            )
        meter = Meter()
        rows = 0 if output.exists() else task()
        return TaskReport(rows=rows, cost=meter.cost(), began_s=meter.began_s, worker=self._number)

    @property
    def _vocabulary(self) -> Vocabulary:
        if self._opened is None:
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
        shutil.rmtree(partial)
    return rows
