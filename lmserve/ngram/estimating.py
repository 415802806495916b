"""Estimating: the counts of one level -> probabilities, backoff weights and positions.

The formula is that of `lmserve.ngram.smoothing_methods`; its p(w | c') is looked up in the list of
c', which holds every word of the lists of the contexts v c' one word longer. The index found there
is the n-gram's *position*, which a finished model stores in place of the word.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.levels import Counts, LeftOut, Level
from lmserve.ngram.logarithm import log10_float32
from lmserve.ngram.smoothing_methods import OrderRule
from lmserve.text.word_table import Ids

Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]

_NOTHING = LeftOut(np.empty(0, np.int64), np.empty(0, np.uint32))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """Contexts of one length with the probabilities in their lists, as the next level needs them.

    Attributes:
        words: uint32 [N], list after list, each sorted.
        probability: float64 [N].
        list_ends: uint32 [G].
        child_ends: uint32 [G], where each context's children end in the next level.
    """

    words: Ids
    probability: Float64s
    list_ends: Ids
    child_ends: Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimates:
    """What smoothing makes of one level.

    Attributes:
        probability: float64 [N], interpolated.
        log10_prob: float32 [N].
        positions: uint32 [N], where the word stands in the list of the context one word shorter.
        log10_backoff: float32 [G]; 0 for a context without a list.
    """

    probability: Float64s
    log10_prob: Float32s
    positions: Ids
    log10_backoff: Float32s


def estimate(shorter: Lists, level: Level, rule: OrderRule, vocabulary_size: int) -> Estimates:
    """Smooths the lists of one level.

    Args:
        shorter: the contexts one word shorter, without the first word of those of this level.
        level: the counts.
        rule: of this order.
        vocabulary_size: V.
    """
    probability, positions, backoff = _estimate(
        _read_only(shorter.words),
        shorter.probability,
        shorter.list_ends,
        shorter.child_ends,
        _read_only(level.words),
        _narrow(level.counts),
        level.list_ends,
        level.left_out or _NOTHING,
        rule,
        vocabulary_size,
    )
    return Estimates(
        probability=probability,
        log10_prob=log10_float32(probability),
        positions=positions,
        log10_backoff=log10_float32(backoff),
    )


# A kernel is compiled anew for every kind of argument: there should be one.
def _read_only(words: Ids) -> Ids:
    view = words.view()
    view.flags.writeable = False
    return view


def _narrow(counts: Counts) -> Counts:
    fits = counts.dtype == np.uint32 or counts.max(initial=0) <= np.iinfo(np.uint32).max
    return counts.astype(np.uint32, copy=False) if fits else counts


@njit(cache=True, nogil=True)
def _estimate(
    shorter_words: Ids,
    shorter_probability: Float64s,
    shorter_ends: Ids,
    child_ends: Ids,
    words: Ids,
    counts: Counts,
    list_ends: Ids,
    left_out: LeftOut,
    rule: OrderRule,
    vocabulary_size: int,
) -> tuple[Float64s, Ids, Float64s]:
    probability = np.empty(len(words), np.float64)
    positions = np.empty(len(words), np.uint32)
    backoff = np.ones(len(list_ends), np.float64)
    discounts = np.array((0.0, rule.discounts.one, rule.discounts.two, rule.discounts.three_plus))
    # Only ever read where the list at hand has just been written: never cleared.
    place = np.empty(vocabulary_size, np.uint32)
    begin = np.int64(0)
    first_child = np.int64(0)
    first = np.int64(0)
    for parent in range(len(shorter_ends)):
        end_child = np.int64(child_ends[parent])
        end = np.int64(shorter_ends[parent])
        if end_child > first_child:
            # An only child has the very words of its parent, unless some were pruned.
            same = end_child == first_child + 1 and (
                np.int64(list_ends[first_child]) - begin == end - first
            )
            if not same:
                for i in range(first, end):
                    place[shorter_words[i]] = i - first
            for context in range(first_child, end_child):
                stop = np.int64(list_ends[context])
                total = 0.0
                withheld = rule.constant
                types = stop - begin
                if len(left_out.counts) > 0:
                    # They were seen as others were, and all that they had goes to c'.
                    total += float(left_out.counts[context])
                    withheld += float(left_out.counts[context])
                    types += int(left_out.words[context])
                for i in range(begin, stop):
                    total += counts[i]
                    withheld += discounts[min(counts[i], np.uint32(3))]
                withheld += types * rule.per_type
                total += types * rule.per_type + rule.constant
                weight = withheld / total if total > 0.0 else 1.0
                if not np.isnan(rule.fixed_backoff) and stop > begin:
                    weight = rule.fixed_backoff
                share = weight if rule.interpolate else 0.0
                for i in range(begin, stop):
                    position = i - begin if same else np.int64(place[words[i]])
                    positions[i] = position
                    seen = (counts[i] - discounts[min(counts[i], np.uint32(3))]) / total
                    probability[i] = seen + share * shorter_probability[first + position]
                backoff[context] = weight if stop > begin else 1.0
                begin = stop
            first_child = end_child
        first = end
    return probability, positions, backoff
