"""The stages of a build from counts to a model; see `cluster.stages`."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cluster.config import BuildConfig
from cluster.counting import Counting, Smoothing
from cluster.pool import Pool
from cluster.stage_log import StageLog
from cluster.workspace import Workspace, write_json
from lmserve.ngram.assembling import finish_tables
from lmserve.ngram.counting import SUM_FILES, Counted, has_levels, open_shared
from lmserve.ngram.filing import SUMS_FILE, Filed, filing
from lmserve.ngram.layout import Layout, LevelLayout, default_child_bits, position_bits
from lmserve.ngram.levels import count_counts
from lmserve.ngram.manifest import Manifest, seal
from lmserve.ngram.sharding import Prefix, Sharding, plan_buckets
from lmserve.ngram.shared import SharedContext, add_up, smooth_shared
from lmserve.ngram.tables import write_table
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.text.special_tokens import BOS, EOS

# Rows ordered at a time: what is written to in no order should stay near the cache.
_ROWS_PER_BUCKET = 1 << 20
_BYTES_PER_ROW = 80
# Where a shard's part of a bucket is a request to a store, waiting for them costs more than that.
_ROWS_PER_FETCHED_BUCKET = 1 << 23
_BYTES_PER_FETCHED_ROW = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sums:
    """What is summed over all shards.

    Attributes:
        counts_of_counts: int64 [n, 4].
        totals: counts and raw counts after each context that shards share, int64 [2, V].
        rows: n-grams of all shards.
    """

    counts_of_counts: npt.NDArray[np.int64]
    totals: dict[Prefix, npt.NDArray[np.int64]]
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """Where everything is put.

    Attributes:
        layout: of the model.
        first_rows: int64 [B + 1, n], where each bucket begins in levels 1 .. n.
    """

    layout: Layout
    first_rows: npt.NDArray[np.int64]


class Estimation:
    """Makes a model of counted shards."""

    def __init__(
        self,
        config: BuildConfig,
        files: Workspace,
        log: StageLog,
        pool: Pool,
        vocabulary: Vocabulary,
    ) -> None:
        self.config = config
        self.files = files
        self.log = log
        self.pool = pool
        self.vocabulary = vocabulary

    def run(
        self,
        sharding: Sharding,
        counting: Counting,
        recount: Callable[[Sequence[int]], None],
    ) -> Manifest:
        """Runs the stages from `discount` on.

        Args:
            sharding: the shards.
            counting: how they were counted.
            recount: counts shards again whose counts were used up by a build that was stopped, and
                that now has other discounts.
        """
        with self.log.stage("discount") as tally:
            sums = self._sum(sharding, counting)
            how = self._choose(sums, counting)
            shared = self._smooth_shared(sharding, sums, how)
            tally.rows = sum(len(context.words) for context in shared.values())
        lost = [s for s in range(len(sharding)) if self._is_lost(s, sharding, how)]
        if lost:
            recount(lost)
        folders = self.smooth(sharding, how)
        self.files.spares.clear()
        plan = self._lay_out(folders, how)
        self.order(folders, plan, how)
        return self.finish(plan, how, sums, shared[()])

    def _is_lost(self, shard: int, sharding: Sharding, how: Smoothing) -> bool:
        if self.files.private or self.files.smoothed(shard, how.key).exists():
            return False
        levels = self.config.order - len(sharding.shards[shard].prefix) - 1
        return not has_levels(self.files.counts(shard, how.counting.key), levels)

    def _sum(self, sharding: Sharding, counting: Counting) -> _Sums:
        config, shards = self.config, range(len(sharding))
        folders = [self.files.counts(s, counting.key) for s in shards]
        self.files.need(*(folder / name for folder in folders for name in SUM_FILES))
        counted = [Counted.read(folder) for folder in folders]
        lists = [open_shared(folder, raw=config.keep_raw) for folder in folders]
        totals = add_up(sharding, lists, len(self.vocabulary), adjusted=counting.adjusted)
        if config.order == 1 or not counting.adjusted:
            totals[()][0] = self.vocabulary.counts
        counts_of_counts = np.zeros((config.order, 4), np.int64)
        for shard in counted:
            counts_of_counts[1:] += np.array(shard.counts_of_counts)
        for prefix, (counts, _) in totals.items():
            # <s> has occurrences, but is never predicted.
            predicted = counts if prefix else np.delete(counts, BOS)
            counts_of_counts[len(prefix)] += count_counts(predicted)
        return _Sums(
            counts_of_counts=counts_of_counts,
            totals=totals,
            rows=sum(sum(shard.rows) for shard in counted),
        )

    def _choose(self, sums: _Sums, counting: Counting) -> Smoothing:
        """The rules that follow from the counts of counts, and the buckets to file under."""
        smoothing, options = self.config.smoothing, self.config.options
        rules = [
            smoothing.rule(counts, k, len(self.vocabulary) - 1, options)
            for k, counts in enumerate(sums.counts_of_counts, 1)
        ]
        if self.files.undone([self.files.bucket_plan]):
            workers = self.pool.size
            most, row_bytes = _ROWS_PER_BUCKET, _BYTES_PER_ROW
            if self.files.private:
                most, row_bytes = _ROWS_PER_FETCHED_BUCKET, _BYTES_PER_FETCHED_ROW
            rows_per_bucket = min(
                self.config.bytes_per_worker(workers) // row_bytes,
                most,
                -(-sums.rows // (2 * workers)),
            )
            starts = plan_buckets(self.vocabulary.counts, sums.rows, max(rows_per_bucket, 1))
            write_json(self.files.bucket_plan, starts.tolist())
            self.files.share(self.files.bucket_plan)
        self.files.need(self.files.bucket_plan)
        buckets = json.loads(self.files.bucket_plan.read_text())
        # A build that is resumed with other discounts keeps its counts, not its probabilities.
        facts = json.dumps([counting.key, rules])
        return Smoothing(
            counting=counting,
            rules=rules,
            bucket_starts=np.array(buckets, np.int64),
            key=hashlib.blake2b(facts.encode(), digest_size=8).hexdigest(),
        )

    def _smooth_shared(
        self, sharding: Sharding, sums: _Sums, how: Smoothing
    ) -> dict[Prefix, SharedContext]:
        """Smooths the contexts that shards share, and leaves them where `smooth` finds them."""
        shared = smooth_shared(
            sums.totals, how.rules, how.counting.thresholds, len(self.vocabulary)
        )
        for number, prefix in enumerate(sharding.split):
            context = shared[prefix]
            level, estimates = context.level, context.estimates
            parent = self.files.parent(number, how.key)
            write_table(parent, {"word": level.words, "probability": estimates.probability})
            self.files.share(parent)
            if prefix:
                folder = self.files.shared(number, how.key)
                folder.mkdir(exist_ok=True)
                longest = self.config.order - 1
                with filing(folder, how.bucket_starts, longest, self.files.spares) as file:
                    file(level, estimates, len(prefix))
                self.files.share_filed(folder, len(prefix), longest)
        return shared

    def smooth(self, sharding: Sharding, how: Smoothing) -> list[tuple[Path, int]]:
        """Counts -> probabilities and backoff weights.

        Returns:
            Their folders, in the order of contexts, and how many words the shortest ones there
            have.
        """
        if sharding.shards:
            calls = [(s, sharding, how) for s in range(len(sharding))]
            amounts = [shard.records for shard in sharding.shards]
            self.log.run("smooth", self.pool, calls, amounts)
        split = sharding.split
        return [
            (self.files.smoothed(what, how.key), len(sharding.shards[what].prefix) + 1)
            if isinstance(what, int)
            else (self.files.shared(split.index(what), how.key), len(what))
            for what in sharding.in_order()
        ]

    def _lay_out(self, folders: Sequence[tuple[Path, int]], how: Smoothing) -> _Plan:
        """The widths of all fields, and where every bucket begins."""
        order, buckets = self.config.order, len(how.bucket_starts) - 1
        first_rows = np.zeros((buckets + 1, order), np.int64)
        first_rows[:, 0] = how.bucket_starts
        longest = [len(self.vocabulary), *[0] * (order - 1)]
        self.files.need(*(folder / SUMS_FILE for folder, _ in folders))
        for folder, _ in folders:
            filed = Filed.read(folder)
            for j, rows in filed.rows.items():
                first_rows[1:, j] += rows
                longest[j] = max(longest[j], filed.longest[j])
        first_rows[:, 1:] = np.cumsum(first_rows[:, 1:], axis=0)
        rows_of_level = first_rows[-1].tolist()
        levels = [
            LevelLayout(
                rows=rows_of_level[k - 1],
                position_bits=position_bits(longest[k - 2]),
                backoff_bits=32 if k < order else 0,
                child_bits=(
                    default_child_bits(rows_of_level[k - 1], rows_of_level[k]) if k < order else 0
                ),
            )
            for k in range(2, order + 1)
        ]
        return _Plan(layout=Layout(tuple(levels)), first_rows=first_rows)

    def order(self, folders: Sequence[tuple[Path, int]], plan: _Plan, how: Smoothing) -> None:
        """Buckets -> the model's tables."""
        self.files.lay_out(plan.layout, how.key)
        if self.config.order == 1:
            return
        # Other machines have their folders elsewhere.
        named = [(folder.relative_to(self.files.folder), shortest) for folder, shortest in folders]
        calls = [
            (b, named, how.bucket_starts, plan.first_rows[b], plan.layout, how.key)
            for b in range(len(how.bucket_starts) - 1)
        ]
        amounts = np.diff(plan.first_rows.sum(axis=1)).tolist()
        self.log.run("order", self.pool, calls, amounts)

    def finish(self, plan: _Plan, how: Smoothing, sums: _Sums, unigrams: SharedContext) -> Manifest:
        """What buckets share, the small tables, checksums and the manifest."""
        config, counts = self.config, self.vocabulary.counts
        with self.log.stage("finish") as tally:
            buckets = range(len(how.bucket_starts) - 1 if config.order > 1 else 0)
            folders = [self.files.bucket(b, how.key) for b in buckets]
            self.files.collect_tables(folders, plan.layout)
            finish_tables(folders, plan.first_rows, plan.layout, unigrams, self.files.model)
            manifest = Manifest(
                order=config.order,
                smoothing=config.smoothing,
                special_tokens=config.special_tokens,
                tokenization=config.tokenization,
                sentences=int(counts[EOS]),
                words=self.vocabulary.word_count,
                ngrams=[len(self.vocabulary), *(level.rows for level in plan.layout.levels)],
                levels=list(plan.layout.levels),
                discounts=[rule.discounts for rule in how.rules],
                counts_of_counts=sums.counts_of_counts.tolist(),
                pruning=how.counting.thresholds.tolist() if how.counting.pruned else [],
            )
            tally.rows = sum(manifest.ngrams)
            return seal(self.files.model, manifest)
