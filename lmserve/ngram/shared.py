"""The contexts that several shards share: their lists added up, and smoothed.

The empty context is shared by all shards; its list are the unigrams. Others are shared where a word
too frequent for one shard was split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmserve.ngram.estimating import Estimates, Lists, estimate
from lmserve.ngram.levels import Level, SharedList
from lmserve.ngram.sharding import Prefix, Sharding
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.ngram.thinning import thin
from lmserve.text.special_tokens import BOS
from lmserve.text.word_table import Ids

Counts = npt.NDArray[np.int64]


def add_up(
    sharding: Sharding, lists: Sequence[SharedList], vocabulary_size: int, *, adjusted: bool
) -> dict[Prefix, Counts]:
    """The counts of all words after each shared context.

    Args:
        sharding: the shards.
        lists: what each saw after the context it shares.
        vocabulary_size: V.
        adjusted: whether counts are adjusted, else raw.

    Returns:
        For each split context int64 [2, V], counts and raw counts.
    """
    totals = {prefix: np.zeros((2, vocabulary_size), np.int64) for prefix in sharding.split}
    for shard, (words, seen, seen_raw) in zip(sharding.shards, lists, strict=True):
        totals[shard.prefix][0, words] += seen
        totals[shard.prefix][1, words] += seen if seen_raw is None else seen_raw
    for prefix in reversed(sharding.split):
        if prefix:
            counts, raw = totals[prefix]
            totals[prefix[:-1]][0] += (counts > 0) if adjusted else counts
            totals[prefix[:-1]][1] += raw
    return totals


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedContext:
    """A context that several shards share, smoothed.

    Attributes:
        level: its only list; of the empty context, every word of the vocabulary. Without any where
            pruning leaves this context out.
        estimates: of this list.
    """

    level: Level
    estimates: Estimates

    @property
    def words(self) -> Ids:
        """The words of its list, uint32 [N]."""
        return self.level.words

    def as_parent(self, children: int) -> Lists:
        """This list as that of the parent of so many contexts."""
        return Lists(
            words=self.level.words,
            probability=self.estimates.probability,
            list_ends=np.array([len(self.level.words)], np.uint32),
            child_ends=np.array([children], np.uint32),
        )


def smooth_unigrams(counts: Counts, rule: OrderRule) -> SharedContext:
    """The empty context, whose shorter context is the uniform distribution.

    Args:
        counts: int64 [V]; that of `<s>` is not used, for it is never predicted.
        rule: of order 1.
    """
    size = len(counts)
    predicted = counts.copy()
    predicted[BOS] = 0
    words = np.arange(size, dtype=np.uint32)
    uniform = Lists(
        words=words,
        probability=np.full(size, 1.0 / (size - 1)),
        list_ends=np.array([size], np.uint32),
        child_ends=np.array([1], np.uint32),
    )
    level = _single_list((), words, predicted, None)
    # This list alone holds words that were not seen; they are none of the T(c) that were.
    unseen = int(np.count_nonzero(predicted == 0))
    rule = rule._replace(constant=rule.constant - unseen * rule.per_type)
    estimates = estimate(uniform, level, rule, size)
    estimates.probability[BOS] = 0.0
    estimates.log10_prob[BOS] = -np.inf
    return SharedContext(level=level, estimates=estimates)


def smooth_shared(
    totals: Mapping[Prefix, Counts],
    rules: Sequence[OrderRule],
    thresholds: npt.NDArray[np.int64],
    vocabulary_size: int,
) -> dict[Prefix, SharedContext]:
    """All shared contexts, from the empty one on.

    Args:
        totals: from `add_up`; of the empty context, the counts that its order uses.
        rules: of orders 1 .. n.
        thresholds: int64 [n], of pruning; the first is 0.
        vocabulary_size: V.
    """
    smoothed: dict[Prefix, SharedContext] = {(): smooth_unigrams(totals[()][0], rules[0])}
    for prefix in sorted(totals, key=len):
        if prefix:
            (words,) = np.nonzero(totals[prefix][0])
            counts, raw = totals[prefix][:, words]
            level = _single_list(prefix, words.astype(np.uint32), counts, raw)
            if thresholds.any():
                (level,) = thin([level], thresholds, len(prefix))
            parent = smoothed[prefix[:-1]].as_parent(len(level.list_ends))
            estimates = estimate(parent, level, rules[len(prefix)], vocabulary_size)
            smoothed[prefix] = SharedContext(level=level, estimates=estimates)
    return smoothed


def _single_list(prefix: Prefix, words: Ids, counts: Counts, raw: Counts | None) -> Level:
    return Level(
        words=words,
        counts=counts,
        raw_counts=raw,
        list_ends=np.array([len(words)], np.uint32),
        child_ends=np.zeros(1, np.uint32),
        first_words=np.array(prefix[-1:], np.uint32),
    )
