"""The worker that counts and estimates, one piece or shard at a time; Ray makes actors of it.

It keeps nothing but compiled kernels and the mapped vocabulary, all else is on disk: one that dies
is replaced, and its task simply done again.
"""

import resource
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.workspace import Workspace
from lmserve.errors import BuildError
from lmserve.ngram.adjusting import ShardCounts, adjust
from lmserve.ngram.assembling import save_levels, smooth_shard
from lmserve.ngram.counting import read_records, scatter_piece, tokenize_piece
from lmserve.ngram.discounting import Discounts
from lmserve.ngram.smoothing import Smoothing
from lmserve.ngram.tables import as_numpy, open_table, partial_name
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.text.sources import Piece
from lmserve.text.special_tokens import SpecialTokens


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskReport:
    """What one task cost.

    Attributes:
        cpu_s: processor time, in seconds.
        peak_memory_bytes: the largest resident memory of the worker so far.
    """

    cpu_s: float
    peak_memory_bytes: int


class NgramWorker:
    """Does the stages of a build, piece by piece and shard by shard."""

    def __init__(self, folder: str, order: int) -> None:
        self._files = Workspace(Path(folder))
        self._order = order
        self._opened: Vocabulary | None = None

    def tokenize(self, piece: Piece, special_tokens: SpecialTokens) -> TaskReport:
        """Stage 1 for one piece."""
        tokens, words = self._files.tokens(piece.index), self._files.words(piece.index)
        return self._once(words, lambda: tokenize_piece(piece, special_tokens, tokens, words))

    def scatter(self, piece: int, shard_starts: npt.NDArray[np.int64]) -> TaskReport:
        """Stage 2 for one piece."""
        records = self._files.records(piece)
        return self._once(
            records,
            lambda: scatter_piece(
                self._files.tokens(piece),
                self._files.words(piece),
                self._vocabulary,
                order=self._order,
                shard_starts=shard_starts,
                records_path=records,
            ),
        )

    def adjust(self, shard: int, shard_starts: npt.NDArray[np.int64], pieces: int) -> TaskReport:
        """Stage 3 for one shard."""
        output = self._files.counts(shard)
        records = [self._files.records(piece) for piece in range(pieces)]

        def count(folder: Path) -> None:
            columns = read_records(records, shard, len(shard_starts) - 1, self._order)
            first, last = int(shard_starts[shard]), int(shard_starts[shard + 1])
            counts = adjust(columns, first, last)
            counts.totals(len(self._vocabulary)).save(folder)
            counts.save(folder)

        return self._once(output, lambda: _write_folder(output, count))

    def smooth(
        self, shard: int, smoothing: Smoothing, discounts: list[Discounts], key: str
    ) -> TaskReport:
        """Stage 4 for one shard; `key` names the smoothing and discounts."""
        output = self._files.smoothed(shard, key)

        def estimate(folder: Path) -> None:
            unigrams = open_table(self._files.unigrams, {"probability": pa.float64()})
            counts = ShardCounts.open(self._files.counts(shard), self._order)
            probability = as_numpy(unigrams["probability"])
            save_levels(smooth_shard(counts, smoothing, discounts, probability), folder)

        return self._once(output, lambda: _write_folder(output, estimate))

    def _once(self, output: Path, task: Callable[[], object]) -> TaskReport:
        """Does a task unless its output exists already."""
        if not self._files.plan_file.exists():
            raise BuildError(
                f"the machine {socket.gethostname()} does not see {str(self._files.folder)!r}: the "
                "output folder is on another machine",
                "On several machines, give an --output on storage that all of them share.",
            )
        started_s = time.process_time()
        if not output.exists():
            task()
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return TaskReport(cpu_s=time.process_time() - started_s, peak_memory_bytes=peak_kib * 1024)

    @property
    def _vocabulary(self) -> Vocabulary:
        if self._opened is None:
            self._opened = Vocabulary.open(self._files.model)
        return self._opened


def _write_folder(output: Path, write: Callable[[Path], None]) -> None:
    """Fills a folder that appears under its name only when complete."""
    partial = partial_name(output)
    partial.mkdir()
    write(partial)
    try:
        partial.rename(output)
    except OSError:
        # The same task, run twice at once after a lost connection, has just finished elsewhere.
        if not output.exists():
            raise
        shutil.rmtree(partial)
