"""Entropy pruning: a finished model without the n-grams that hardly change it.

The rules are those of SRILM's `ngram -prune`, but that with an n-gram its suffix stays, too; see
docs/smoothing.md. `relative_entropy` has the formulas.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmserve.errors import ModelError, OptionError
from lmserve.ngram.copying import check_exact, write_copy
from lmserve.ngram.manifest import Manifest
from lmserve.ngram.model import NgramModel
from lmserve.ngram.relative_entropy import (
    Bools,
    Float32s,
    Float64s,
    Int64s,
    Lists,
    rises_of_perplexity,
    weights_without,
)
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.ngram.unpacking import read_values, unpack_words
from lmserve.ngram.writing import PlainLevel, PlainUnigrams, write_levels
from lmserve.text.special_tokens import BOS, EOS


@dataclass(kw_only=True, slots=True)
class _Level:
    """Level k, R rows."""

    first_child: Int64s  # int64 [R + 1]
    suffixes: Int64s  # int64 [R], rows of level k - 1; of level 1 none
    log10_prob: Float32s  # float32 [R]
    log10_backoff: Float32s  # float32 [R]


def prune_by_entropy(model: NgramModel, output: Path, threshold: float) -> Manifest:
    """Writes a copy of a model without the n-grams that are worth less than a threshold.

    An n-gram is left out if the model's perplexity rises by a smaller share without it; all words
    stay, and all that an n-gram which stays begins or ends with.

    Args:
        model: an exact model.
        output: the folder to make; it must not exist.
        threshold: above 0; 1e-8 is a usual one for large models, 1e-6 for small ones.

    Returns:
        The manifest of the copy, which tells the threshold.

    Raises:
        OptionError: the threshold is not above 0.
        ModelError: the output exists, or the model is quantised or one of stupid backoff.
        CorruptModelError: the model is damaged.
    """
    if not 0 < threshold < math.inf:
        raise OptionError(
            f"n-grams are to be left out below a rise of {threshold:g}, which leaves out "
            f"{'everything' if threshold > 0 else 'nothing'}",
            "Give a number above 0, such as 1e-8.",
        )
    check_exact(model, output, "Prune")
    if model.manifest.smoothing == Smoothing.STUPID_BACKOFF:
        raise ModelError(
            f"{model.folder} is a model of stupid backoff: its scores are no probabilities, and "
            "have no entropy",
            "Prune it by counts when it is built, or build with another smoothing method.",
        )

    def write_tables(folder: Path) -> Mapping[str, Any]:
        levels = _read_levels(model)
        kept = _survivors(levels, threshold)
        unigrams, plain = _without(levels, kept)
        layout = write_levels(folder, unigrams, plain)
        return {
            "ngrams": [int(each.sum()) for each in kept],
            "levels": list(layout.levels),
            "entropy_pruning": [*model.manifest.entropy_pruning, threshold],
        }

    return write_copy(model, output, write_tables)


def _read_levels(model: NgramModel) -> list[_Level]:
    *_, words = unpack_words(model)
    levels = []
    for k, level in enumerate(words, 1):
        log10_prob, log10_backoff = read_values(model, k, 0, len(level.words))
        levels.append(
            _Level(
                first_child=level.first_child,
                suffixes=level.suffixes,
                log10_prob=log10_prob,
                log10_backoff=log10_backoff,
            )
        )
    return levels


def _lists(below: _Level, level: _Level) -> Lists:
    """The n-grams of a level as lists of their contexts."""
    return Lists(
        below.first_child, _power(level.log10_prob), level.suffixes, _power(below.log10_prob)
    )


def _power(log10: Float32s) -> Float64s:
    return np.asarray(np.power(10.0, log10, dtype=np.float64))


def _survivors(levels: Sequence[_Level], threshold: float) -> list[Bools]:
    """Which rows of each level stay: bool [R]."""
    kept: list[Bools] = [np.ones(len(levels[0].log10_prob), bool)]
    # P(c) by the chain rule: each n-gram's first words are its parent in the trie. A sentence
    # starts where one ends, so `<s>`, which is never predicted, is as probable as `</s>`.
    context_probs = _power(levels[0].log10_prob)
    context_probs[BOS] = context_probs[EOS]
    for below, level in itertools.pairwise(levels):
        lists = _lists(below, level)
        rises = rises_of_perplexity(lists, _power(below.log10_backoff), context_probs)
        kept.append(rises >= threshold)
        context_probs = np.repeat(context_probs, np.diff(below.first_child)) * lists.probs
    for k in range(len(levels) - 1, 1, -1):
        kept[k - 1] |= np.diff(_ranks(kept[k])[levels[k - 1].first_child]) > 0
        kept[k - 1][levels[k].suffixes[kept[k]]] = True
    return kept


def _ranks(kept: Bools) -> Int64s:
    """How many rows before each stay, and how many at all: int64 [R + 1]; kept bool [R]."""
    return np.concatenate(([0], np.cumsum(kept, dtype=np.int64)))


def _without(
    levels: Sequence[_Level], kept: Sequence[Bools]
) -> tuple[PlainUnigrams, list[PlainLevel]]:
    """The levels with nothing but the rows kept."""
    backoffs, first_children = [], []
    for below, level, stay, above in zip(levels, levels[1:], kept, kept[1:], strict=False):
        backoffs.append(weights_without(_lists(below, level), below.log10_backoff, above)[stay])
        first_children.append(_remaining(below.first_child, stay, above))
    empty = np.empty(0, np.uint32)
    plain = []
    for k, level in enumerate(levels[1:], 1):
        last = k == len(levels) - 1
        plain.append(
            PlainLevel(
                positions=_positions(levels, kept, k)[kept[k]].astype(np.uint32),
                probs=level.log10_prob[kept[k]].view(np.uint32),
                backoffs=empty if last else backoffs[k].view(np.uint32),
                first_child=empty.astype(np.uint64) if last else first_children[k],
            )
        )
    unigrams = PlainUnigrams(
        log10_prob=levels[0].log10_prob,
        log10_backoff=backoffs[0] if backoffs else levels[0].log10_backoff,
        first_child=first_children[0] if backoffs else levels[0].first_child.view(np.uint64),
    )
    return unigrams, plain


def _remaining(first_child: Int64s, kept: Bools, kept_above: Bools) -> npt.NDArray[np.uint64]:
    """First children of the rows kept, uint64 [K + 1]; only such rows have children kept."""
    begins = _ranks(kept_above)[first_child]
    return np.append(begins[:-1][kept], begins[-1]).view(np.uint64)


def _positions(levels: Sequence[_Level], kept: Sequence[Bools], k: int) -> Int64s:
    """Of all rows of levels[k], where their suffixes stand among what stays of their lists."""
    suffixes = levels[k].suffixes
    if k == 1:
        return suffixes
    parents_suffixes = np.repeat(levels[k - 1].suffixes, np.diff(levels[k - 1].first_child))
    ranks = _ranks(kept[k - 1])
    return np.asarray(ranks[suffixes] - ranks[levels[k - 2].first_child[parents_suffixes]])
