"""The stages of a build, each timed and reported.

    tokenize  pieces of text -> token ids and word counts            one task a piece
    rank      word counts -> the vocabulary                          driver
    plan      word counts -> shards                                  driver; a task a piece to split
    scatter   token ids -> n-gram records by shard                   one task a piece
    count     records -> words after every context, with counts      one task a shard
    discount  counts of counts, shared contexts -> smoothing rules   driver
    smooth    counts -> probabilities and backoffs by bucket         one task a shard
    order     buckets -> the model's tables                          one task a bucket
    finish    checksums and manifest                                 driver

Those from `discount` on are in `cluster.estimation`. The driver exchanges only names and plans with
the actors; everything else passes through files that are complete or absent, in a folder that all
of them see, or through a store (`cluster.stored_workspace`). What counts as done is what exists.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.config import BuildConfig
from cluster.counting import Counting
from cluster.estimation import Estimation
from cluster.lookout import Lookout
from cluster.pool import Pool
from cluster.progress import Observer
from cluster.stage_log import StageLog
from cluster.summary import build_summary
from cluster.workspace import Workspace, write_json
from lmserve.errors import BuildError, RefusedTextError
from lmserve.ngram.manifest import Manifest
from lmserve.ngram.records import RecordLayout
from lmserve.ngram.sharding import Prefix, Shard, Sharding, plan_shards
from lmserve.ngram.tables import as_numpy, open_table
from lmserve.ngram.vocabulary import (
    WORDS_SCHEMA,
    Vocabulary,
    vocabulary_files,
    write_vocabulary,
)
from lmserve.text.sources import Piece, file_stat, shown


class Run:
    """One build under way: the stages, and what they share."""

    def __init__(
        self, config: BuildConfig, files: Workspace, pieces: list[Piece], observer: Observer
    ) -> None:
        self.config = config
        self.files = files
        self.pieces = pieces
        self.lookout = Lookout(files, observer)
        self.log = StageLog(observer, self.lookout, files.traffic)

    def stages(self, pool: Pool) -> Manifest:
        """Runs them all, in order; what was done before is not done again."""
        started_s = time.monotonic()
        self.tokenize(pool)
        vocabulary = self.rank()
        sharding = self.plan(pool, vocabulary)
        self.scatter(pool, sharding)
        counting = self.count(pool, sharding)
        estimation = Estimation(self.config, self.files, self.log, pool, vocabulary)

        def recount(shards: Sequence[int]) -> None:
            for shard in shards:
                self.files.forget_counts(shard, counting.key)
            self.scatter(pool, sharding)
            self.count(pool, sharding)

        manifest = estimation.run(sharding, counting, recount)
        self.summarise(pool.size, time.monotonic() - started_s, digest=manifest.digest)
        return manifest

    def tokenize(self, pool: Pool) -> None:
        """Text -> token ids and word counts."""
        config = self.config
        calls = [(piece, config.special_tokens, config.tokenization) for piece in self.pieces]
        self.log.run("tokenize", pool, calls, self._sizes)
        for path, size_bytes, changed_ns in self.files.planned_inputs():
            now = file_stat(path)
            if (now.size_bytes, now.changed_ns) != (size_bytes, changed_ns):
                raise BuildError(
                    f"{shown(path)} was changed while it was being read: it had {size_bytes} "
                    f"bytes, now it has {now.size_bytes}",
                    f"Delete {self.files.where!r} and build again, with text at rest.",
                )

    def rank(self) -> Vocabulary:
        """Word counts -> the vocabulary.

        Raises:
            RefusedTextError: there is not one word.
        """
        with self.log.stage("rank") as tally:
            words = [self.files.words(piece.index) for piece in self.pieces]
            self.files.need(*words)
            tables = (pa.table(open_table(counted, WORDS_SCHEMA)) for counted in words)
            write_vocabulary(tables, self.files.model, self.config.vocabulary)
            self.files.share(*vocabulary_files(self.files.model))
            vocabulary = Vocabulary.open(self.files.model)
            tally.rows = len(vocabulary)
        if vocabulary.word_count == 0:
            raise RefusedTextError(
                f"the input holds no word: {', '.join(map(shown, self.config.inputs))}",
                "Give text with one sentence a line.",
            )
        return vocabulary

    def plan(self, pool: Pool, vocabulary: Vocabulary) -> Sharding:
        """The shards; a resumed build keeps those it has."""
        order = self.config.order
        if order == 1:
            return Sharding(1, ())
        if self.files.undone([self.files.shard_plan]):
            layout = RecordLayout(order, len(vocabulary))
            memory_bytes = self.config.bytes_per_worker(pool.size)
            sharding = plan_shards(
                vocabulary.counts,
                order,
                # Several for each worker, so that all are done at about the same time, and so
                # small that the memory which each takes anew is little.
                minimum=10 * pool.size,
                records_per_shard=self.config.shard_records
                or memory_bytes // _bytes_per_record(layout, keep_raw=self.config.keep_raw),
                count=lambda prefixes: self._survey(pool, prefixes, len(vocabulary)),
            )
            write_json(self.files.shard_plan, [asdict(shard) for shard in sharding.shards])
            self.files.share(self.files.shard_plan)
        self.files.need(self.files.shard_plan)
        plan = json.loads(self.files.shard_plan.read_text())
        shards = (Shard(**{**shard, "prefix": tuple(shard["prefix"])}) for shard in plan)
        return Sharding(order, tuple(shards))

    def _survey(
        self, pool: Pool, prefixes: Sequence[Prefix], size: int
    ) -> Mapping[Prefix, npt.NDArray[np.int64]]:
        """What the records of contexts too large for one shard go on with."""
        key = hashlib.blake2b(json.dumps(list(prefixes)).encode(), digest_size=8).hexdigest()
        calls = [(piece.index, list(prefixes), key) for piece in self.pieces]
        self.log.run("survey", pool, calls, self._sizes)
        total = np.zeros((len(prefixes), size), np.int64)
        surveys = [self.files.survey(piece.index, key) for piece in self.pieces]
        self.files.need(*surveys)
        for survey in surveys:
            counted = open_table(survey, {"count": pa.int64()})
            total += as_numpy(counted["count"]).reshape(total.shape)
        return dict(zip(prefixes, total, strict=True))

    def scatter(self, pool: Pool, sharding: Sharding) -> None:
        """Token ids -> n-gram records by shard."""
        counted = [self.files.counts(s, self.config.counts_key) for s in sharding.numbers]
        if self.files.undone(counted):
            calls = [(piece.index, sharding) for piece in self.pieces]
            self.log.run("scatter", pool, calls, self._sizes)

    def count(self, pool: Pool, sharding: Sharding) -> Counting:
        """Records -> the words after every context, with their counts."""
        how = Counting(
            adjusted=self.config.smoothing.uses_adjusted_counts,
            keep_raw=self.config.keep_raw,
            thresholds=self.config.thresholds,
            key=self.config.counts_key,
        )
        if sharding.shards:
            calls = [(s, sharding, len(self.pieces), how) for s in range(len(sharding))]
            self.log.run("count", pool, calls, [shard.records for shard in sharding.shards])
        for piece in self.pieces:
            self.files.spares.give(self.files.records(piece.index))
        return how

    def summarise(self, workers: int, wall_s: float, **result: str) -> None:
        """Leaves beside the result what it cost, and what is known of it."""
        self.lookout.look(anyhow=True)
        summary = build_summary(
            self.config, self.pieces, self.log, self.lookout, workers=workers, wall_s=wall_s
        )
        write_json(self.files.model / self.config.summary_file, result | summary)

    @property
    def _sizes(self) -> list[int]:
        return [piece.size_bytes for piece in self.pieces]


def _bytes_per_record(layout: RecordLayout, *, keep_raw: bool) -> int:
    """What a record costs while its shard is counted: itself, sorted aside, and its n-grams."""
    return 16 * layout.columns + (32 if keep_raw else 26) * (layout.order - 1)
