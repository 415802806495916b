"""Counting n-grams on Ray: a build's stages up to the counts, and then their export.

The stages that are not those of `cluster.stages`:

    read    the vocabulary -> text                       driver
    export  counts -> Parquet                            one task a shard
    gather  shared contexts, all parts -> one folder     driver
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

import lmserve
from cluster.build import carry_out
from cluster.config import BuildConfig
from cluster.counting import Counting
from cluster.pool import Pool
from cluster.progress import Observer
from cluster.stages import Run
from lmserve.errors import OptionError
from lmserve.ngram.counting import SUM_FILES, open_shared
from lmserve.ngram.counts import COUNTS_FILE, Counts, part_name, write_list, write_part
from lmserve.ngram.pruning import NO_PRUNING
from lmserve.ngram.sharding import Prefix, Sharding
from lmserve.ngram.shared import add_up
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.ngram.spelling import readable_words
from lmserve.ngram.tables import write_table
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.text.sources import shown
from lmserve.text.special_tokens import BOS, EOS


@dataclass(frozen=True, kw_only=True, slots=True)
class CountsConfig(BuildConfig):
    """Settings of counts: those of a build, except that nothing is smoothed.

    Attributes:
        min_count: n-grams that occur less often are left out.
    """

    makes: ClassVar[str] = "folder of counts"
    manifest_file: ClassVar[str] = COUNTS_FILE
    # Like that one, none of the data.
    summary_file: ClassVar[str] = "_build.json"
    report_file: ClassVar[str] = "_report.html"

    # Not to be set: adjusted counts, all of them.
    smoothing: Smoothing = field(init=False, default=Smoothing.MODIFIED_KNESER_NEY)
    prune: tuple[int, ...] = field(init=False, default=NO_PRUNING)
    min_count: int = 1

    def __post_init__(self) -> None:
        """Refuses what cannot be counted."""
        # Not by `super()`, which finds no class in one with slots.
        BuildConfig.__post_init__(self)
        if self.min_count < 1:
            raise OptionError(
                f"min-count is {self.min_count}",
                "Give 1 for all n-grams, or more to leave out rare ones.",
            )

    @property
    def keep_raw(self) -> bool:
        """Raw counts are exported, too."""
        return True

    def facts(self, files: Sequence[str]) -> dict[str, Any]:
        """What must be the same to go on."""
        return {**BuildConfig.facts(self, files), "min_count": self.min_count}


def count(
    config: CountsConfig,
    observer: Observer | None = None,
    *,
    address: str | None = None,
    on_ray: bool = True,
) -> Counts:
    """Counts the n-grams of a text, and writes them as Parquet; see `lmserve.ngram.counts`.

    What has failed leaves its folder, `config.folder`, so that `resume` can go on from it; text
    that is refused leaves nothing.

    Args:
        config: what to count.
        observer: told of the progress.
        address: Ray cluster, see `cluster.session.connect`.
        on_ray: False does all work in this process, cut up as if for `config.workers`.

    Returns:
        What was counted.

    Raises:
        InputError: the text cannot be read or may not be counted.
        BuildError: the output exists, or workers died too often.
    """
    return carry_out(
        config,
        CountsRun,
        CountsRun.count_and_export,
        Counts.parse,
        observer,
        address=address,
        on_ray=on_ray,
    )


class CountsRun(Run):
    """The stages of counts under way."""

    config: CountsConfig

    def count_and_export(self, pool: Pool) -> Counts:
        """Runs them all, in order; what was done before is not done again."""
        started_s = time.monotonic()
        self.tokenize(pool)
        vocabulary = self.rank()
        sharding = self.plan(pool, vocabulary)
        self.scatter(pool, sharding)
        counting = self.count(pool, sharding)
        self.files.spares.clear()
        words, words_not_utf8 = self.read(vocabulary)
        self.export(pool, sharding, counting)
        with self.log.stage("gather") as tally:
            self._write_shared(vocabulary, sharding, counting, words)
            rows = self._gather(sharding)
            tally.rows = sum(rows)
            counts = Counts(
                order=self.config.order,
                min_count=self.config.min_count,
                special_tokens=str(self.config.special_tokens),
                inputs=[shown(name) for name in self.config.inputs],
                sentences=int(vocabulary.counts[EOS]),
                words=vocabulary.word_count,
                words_not_utf8=words_not_utf8,
                rows=rows,
                lmserve=lmserve.__version__,
            )
            # The vocabulary and what else a model would need.
            for path in self.files.model.iterdir():
                if path.is_file():
                    path.unlink()
            counts.write(self.files.model)
        self.summarise(pool.size, time.monotonic() - started_s)
        return counts

    def read(self, vocabulary: Vocabulary) -> tuple[pa.Array, int]:
        """The vocabulary -> text, `large_string` [V], and how many words are no UTF-8."""
        with self.log.stage("read") as tally:
            words, replaced = readable_words(vocabulary)
            tally.rows = len(words)
            write_table(self.files.readable_words, {"word": words})
            self.files.share(self.files.readable_words)
        return words, replaced

    def export(self, pool: Pool, sharding: Sharding, counting: Counting) -> None:
        """Counts -> Parquet."""
        calls = [(s, sharding, counting, self.config.min_count) for s in range(len(sharding))]
        if calls:
            self.log.run("export", pool, calls, [shard.records for shard in sharding.shards])

    def _write_shared(
        self, vocabulary: Vocabulary, sharding: Sharding, counting: Counting, words: pa.Array
    ) -> None:
        """The contexts that shards share, of which the empty one has the unigrams."""
        totals = self._shared_counts(vocabulary, sharding, counting)
        for k in range(1, self.config.order + 1):
            self._part(k, 0).parent.mkdir(exist_ok=True)
        numbers = _part_numbers(sharding)
        for prefix, counts in totals.items():
            path = self._part(len(prefix) + 1, numbers[prefix])
            write_list(path, prefix, counts, words, min_count=self.config.min_count)

    def _shared_counts(
        self, vocabulary: Vocabulary, sharding: Sharding, counting: Counting
    ) -> Mapping[Prefix, npt.NDArray[np.int64]]:
        """For each context that shards share, int64 [2, V]: adjusted and raw counts."""
        folders = [self.files.counts(s, counting.key) for s in range(len(sharding))]
        self.files.need(*(folder / name for folder in folders for name in SUM_FILES))
        lists = [open_shared(folder, raw=True) for folder in folders]
        totals = add_up(sharding, lists, len(vocabulary), adjusted=True)
        if self.config.order == 1:
            totals[()][:] = vocabulary.counts
        # No sentence goes on with <s>.
        totals[()][:, BOS] = 0
        return totals

    def _gather(self, sharding: Sharding) -> list[int]:
        """Moves all parts to where they belong, and counts the rows of each order."""
        numbers = _part_numbers(sharding)
        self.files.need(*(self.files.exported(shard) for shard in range(len(sharding))))
        for shard in range(len(sharding)):
            for part in self.files.exported(shard).glob("*.parquet"):
                part.rename(self._part(int(part.stem), numbers[shard]))
        rows = []
        for k in range(1, self.config.order + 1):
            first = self._part(k, 0)
            if not any(first.parent.iterdir()):
                # So that whoever asks for this order gets no rows instead of an error.
                write_part(first, [], even_if_empty=True)
            parts = sorted(first.parent.iterdir())
            rows.append(sum(pq.read_metadata(part).num_rows for part in parts))
        return rows

    def _part(self, order: int, number: int) -> Path:
        return self.files.model / part_name(order, number)


def _part_numbers(sharding: Sharding) -> dict[int | Prefix, int]:
    """The places of shards and of the contexts they share in the order of contexts."""
    return {what: i for i, what in enumerate([(), *sharding.in_order()])}
