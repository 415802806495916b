"""The stages of a build, each timed and reported.

    tokenize  pieces of text -> token ids and word counts          one task a piece
    rank      word counts -> the vocabulary, most frequent first   driver
    scatter   token ids -> n-gram records by shard                 one task a piece
    adjust    records -> contexts, n-grams, adjusted counts        one task a shard
    discount  counts of counts, unigrams -> discounts              driver
    smooth    counts -> probabilities, backoff weights             one task a shard
    assemble  shards -> the model's tables                         driver

The driver exchanges only names with the actors; everything else passes through files that are
complete or absent. What counts as done is what exists.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import lmserve
from cluster.config import BuildConfig
from cluster.counting import TaskReport
from cluster.pool import Pool
from cluster.progress import Observer, StageReport
from cluster.workspace import Workspace
from lmserve.errors import BuildError, RefusedTextError
from lmserve.ngram.adjusting import ShardTotals, count_counts
from lmserve.ngram.assembling import assemble
from lmserve.ngram.counting import plan_shards
from lmserve.ngram.discounting import Discounts
from lmserve.ngram.manifest import SCHEMAS, Manifest, file_facts
from lmserve.ngram.smoothing import Smoothing, log10, smooth_unigrams
from lmserve.ngram.tables import as_numpy, open_table, write_table
from lmserve.ngram.vocabulary import WORDS_SCHEMA, Vocabulary, write_vocabulary
from lmserve.text.sources import Piece
from lmserve.text.special_tokens import BOS, EOS

# What a worker needs that does nothing; measured, see benchmarks/README.md.
_BYTES_PER_WORKER = 270 << 20


class Run:
    """One build under way: the stages, and what they share."""

    def __init__(
        self, config: BuildConfig, files: Workspace, pieces: list[Piece], observer: Observer
    ) -> None:
        self.config = config
        self.files = files
        self.pieces = pieces
        self.observer = observer
        self.reports: list[StageReport] = []

    def stages(self, pool: Pool) -> Manifest:
        """Runs them all, in order; what was done before is not done again."""
        started_s = time.monotonic()
        self.tokenize(pool)
        vocabulary = self.rank()
        shard_starts = self.shards(vocabulary, pool.size)
        self.scatter(pool, shard_starts)
        self.adjust(pool, shard_starts)
        discounts, counts_of_counts = self.discount(vocabulary, len(shard_starts) - 1)
        smoothed = self.smooth(pool, len(shard_starts) - 1, discounts)
        manifest = self.assemble(vocabulary, smoothed, discounts, counts_of_counts)
        self.summarise(manifest, pool.size, time.monotonic() - started_s)
        return manifest

    def tokenize(self, pool: Pool) -> None:
        """Text -> token ids and word counts."""
        sizes = [piece.size_bytes for piece in self.pieces]
        calls = [(piece, self.config.special_tokens) for piece in self.pieces]
        self.run("tokenize", pool, calls, sizes)
        for path, size_bytes, changed_ns in self.files.planned_inputs():
            now = Path(path).stat()
            if (now.st_size, now.st_mtime_ns) != (size_bytes, changed_ns):
                raise BuildError(
                    f"{path} was changed while it was being read: it had {size_bytes:,} bytes, "
                    f"now it has {now.st_size:,}",
                    f"Delete {str(self.files.folder)!r} and build again, with text at rest.",
                )

    def rank(self) -> Vocabulary:
        """Word counts -> the vocabulary.

        Raises:
            RefusedTextError: there is not one word.
        """
        with self.stage("rank", 1):
            counted = (open_table(self.files.words(p.index), WORDS_SCHEMA) for p in self.pieces)
            write_vocabulary((pa.table(words) for words in counted), self.files.model)
        vocabulary = Vocabulary.open(self.files.model)
        if vocabulary.word_count == 0:
            raise RefusedTextError(
                f"the input holds no word: {', '.join(self.config.inputs)}",
                "Give text with one sentence a line.",
            )
        return vocabulary

    def shards(self, vocabulary: Vocabulary, workers: int) -> npt.NDArray[np.int64]:
        """Where each shard's words begin; a resumed build keeps the shards it has."""
        schema = {"start": pa.int64()}
        if self.config.order == 1:
            return np.array([0], np.int64)
        if not self.files.shard_plan.exists():
            share = self.config.memory_bytes // workers
            usable = max(share - _BYTES_PER_WORKER, share // 4)
            starts = plan_shards(
                vocabulary.counts,
                minimum=workers,
                records_per_shard=usable // _bytes_per_record(self.config.order),
            )
            write_table(self.files.shard_plan, {"start": starts})
        return as_numpy(open_table(self.files.shard_plan, schema)["start"])

    def scatter(self, pool: Pool, shard_starts: npt.NDArray[np.int64]) -> None:
        """Token ids -> n-gram records by shard."""
        if self.config.order == 1:
            return
        sizes = [piece.size_bytes for piece in self.pieces]
        self.run("scatter", pool, [(piece.index, shard_starts) for piece in self.pieces], sizes)

    def adjust(self, pool: Pool, shard_starts: npt.NDArray[np.int64]) -> None:
        """Records -> contexts, n-grams, adjusted counts."""
        shards = range(len(shard_starts) - 1)
        calls = [(shard, shard_starts, len(self.pieces)) for shard in shards]
        self.run("adjust", pool, calls, [1] * len(shards))

    def discount(
        self, vocabulary: Vocabulary, shards: int
    ) -> tuple[list[Discounts], list[list[int]]]:
        """The only thing that is summed over all shards: 4 numbers an order, 1 a word."""
        config = self.config
        with self.stage("discount", 1):
            counts = np.zeros((max(config.order - 1, 0), 4), np.int64)
            followed = np.zeros(len(vocabulary), np.int64)
            for s in range(shards):
                totals = ShardTotals.open(self.files.counts(s))
                counts += totals.counts_of_counts
                followed += totals.followed
            adjusted = vocabulary.counts if config.order == 1 else followed
            raw = config.smoothing is Smoothing.MAXIMUM_LIKELIHOOD
            unigrams = smooth_unigrams(
                vocabulary.counts if raw else adjusted, config.smoothing, config.discount_fallback
            )
            first = count_counts(np.delete(adjusted, BOS))
            discounts = [unigrams.discounts]
            for k, counts_of_counts in enumerate(counts, 2):
                discounts.append(
                    config.smoothing.discounts(counts_of_counts, k, config.discount_fallback)
                )
            write_table(self.files.unigrams, {"probability": unigrams.probability})
        return discounts, [first.tolist(), *counts.tolist()]

    def smooth(self, pool: Pool, shards: int, discounts: list[Discounts]) -> list[Path]:
        """Counts -> probabilities and backoff weights; the folders of the smoothed shards."""
        smoothing = self.config.smoothing
        # A build that is resumed with other discounts keeps its counts, not its probabilities.
        chosen = json.dumps([smoothing, discounts]).encode()
        key = hashlib.blake2b(chosen, digest_size=8).hexdigest()
        calls = [(shard, smoothing, discounts, key) for shard in range(shards)]
        self.run("smooth", pool, calls, [1] * shards)
        return [self.files.smoothed(s, key) for s in range(shards)]

    def assemble(
        self,
        vocabulary: Vocabulary,
        smoothed: list[Path],
        discounts: list[Discounts],
        counts_of_counts: list[list[int]],
    ) -> Manifest:
        """Shards -> the model's tables and manifest."""
        config, output = self.config, self.files.model
        with self.stage("assemble", 1):
            unigrams = open_table(self.files.unigrams, {"probability": pa.float64()})
            log10_prob = log10(as_numpy(unigrams["probability"]))
            ngrams, contexts = assemble(smoothed, config.order, log10_prob, output)
            sentences = int(vocabulary.counts[EOS])
            manifest = Manifest(
                order=config.order,
                smoothing=config.smoothing,
                special_tokens=config.special_tokens,
                sentences=sentences,
                words=vocabulary.word_count,
                ngrams=ngrams,
                contexts=contexts,
                discounts=discounts,
                counts_of_counts=counts_of_counts,
                files={name: file_facts(output / name) for name in sorted(SCHEMAS)},
            )
            manifest = manifest.model_copy(update={"digest": manifest.compute_digest()})
            manifest.write(output)
        return manifest

    def summarise(self, manifest: Manifest, workers: int, wall_s: float) -> None:
        """Leaves `build.json`, what the build cost, beside the model."""
        summary = {
            "lmserve": lmserve.__version__,
            "digest": manifest.digest,
            "inputs": list(self.config.inputs),
            "workers": workers,
            "memory_bytes": self.config.memory_bytes,
            "wall_s": wall_s,
            "stages": [report.as_dict() for report in self.reports],
        }
        (self.files.model / "build.json").write_text(json.dumps(summary, indent=2) + "\n")

    def run(self, name: str, pool: Pool, calls: list[tuple[Any, ...]], amounts: list[int]) -> None:
        """A stage of many tasks: calls the worker's method `name`; `amounts` measure progress."""
        with self.stage(name, sum(amounts)) as tasks:
            tasks += pool.run(name, calls, lambda i: self.observer.advanced(amounts[i]))

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[list[TaskReport]]:
        """Times a stage and reports it; into the list it yields go the reports of its tasks."""
        self.observer.stage_started(name, total)
        wall_s, cpu_s = time.monotonic(), time.process_time()
        tasks: list[TaskReport] = []
        yield tasks
        report = StageReport.of_driver(name, time.monotonic() - wall_s, time.process_time() - cpu_s)
        if tasks:
            report = replace(
                report,
                cpu_s=report.cpu_s + sum(task.cpu_s for task in tasks),
                tasks=len(tasks),
                peak_memory_bytes=max(task.peak_memory_bytes for task in tasks),
            )
        self.reports.append(report)
        self.observer.stage_finished(report)


def _bytes_per_record(order: int) -> int:
    """What a record costs while its shard is adjusted; measured, see benchmarks/README.md."""
    return max(50 * order - 80, 60)
