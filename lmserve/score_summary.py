"""What the scores of many texts come to, in a space that does not grow with their number."""

import heapq
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lmserve.scorer import TextScores

# Bins of perplexity: from 1 up, so many to each power of 10.
BINS_PER_DECADE = 40
_DECADES = 12
_BINS = BINS_PER_DECADE * _DECADES
# Of the lowest and of the highest texts, and of those in the middle bin.
_EXAMPLES = 5
_MAX_SAMPLES = 400
_MAX_BYTES = 300
# What is a number, and adds up.
_COUNTS = (
    *("texts", "empty", "impossible", "tokens", "oov", "texts_with_oov"),
    *("likely_tokens", "log10_prob"),
)


@dataclass(frozen=True, order=True, slots=True)
class Example:
    """A text.

    Attributes:
        perplexity: of it.
        number: counted from 1.
        text: its beginning; empty where texts are not kept.
    """

    perplexity: float
    number: int
    text: str


class ScoreSummary:
    """Takes scores as they come.

    Args:
        keep_texts: whether examples keep the texts themselves.

    Attributes:
        texts: how many.
        empty: of them without a word: their perplexity is in no bin.
        impossible: of them whose probability is 0.
        tokens: words, sentence ends included.
        oov: of them unknown to the model.
        texts_with_oov: texts that hold some.
        log10_prob: of the texts that are not impossible, and `likely_tokens` their words.
        bins: int64 [bins], texts by log10 of their perplexity.
        samples: seconds since the beginning, and texts by then.
    """

    def __init__(self, *, keep_texts: bool = False) -> None:
        self.texts = self.empty = self.impossible = 0
        self.tokens = self.oov = self.texts_with_oov = self.likely_tokens = 0
        self.log10_prob = 0.0
        self.bins = np.zeros(_BINS, np.int64)
        self.samples: list[tuple[float, int]] = [(0.0, 0)]
        self._keep_texts = keep_texts
        self._began_s = time.monotonic()
        self._lowest: list[Example] = []
        self._highest: list[Example] = []
        self._in_bin: dict[int, list[Example]] = {}

    def add(self, scores: TextScores, lines: Sequence[bytes]) -> None:
        """Takes a batch of texts and their scores."""
        perplexity = scores.perplexity()
        likely = np.isfinite(perplexity)
        told = likely & (scores.tokens > 0)
        self.tokens += int(scores.tokens.sum())
        self.oov += int(scores.oov.sum())
        self.texts_with_oov += int((scores.oov > 0).sum())
        self.empty += int((scores.tokens == 0).sum())
        self.impossible += int((~likely).sum())
        self.log10_prob += float(scores.log10_prob[likely].sum())
        self.likely_tokens += int(scores.tokens[likely].sum())
        where = np.flatnonzero(told)
        bins = _bins(perplexity[where])
        self.bins += np.bincount(bins, minlength=_BINS)
        self._keep_examples(perplexity, where, bins, lines)
        self.texts += len(scores)
        self._sample()

    def totals(self) -> dict[str, Any]:
        """All but examples and samples, for JSON and `add_totals`."""
        filled = np.flatnonzero(self.bins).tolist()
        counts = {name: getattr(self, name) for name in _COUNTS}
        return counts | {"bins": [[i, int(self.bins[i])] for i in filled]}

    def add_totals(self, totals: Mapping[str, Any]) -> None:
        """Takes the texts of another summary; no examples of them are kept."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + totals[name])
        for i, texts in totals["bins"]:
            self.bins[i] += texts
        self._sample()

    @property
    def perplexity(self) -> float:
        """Of all texts that are not impossible together."""
        return float(10 ** (-self.log10_prob / max(self.likely_tokens, 1)))

    def quantile(self, part: float) -> float:
        """The perplexity that this part of the texts has at most, to 6 percent; NaN of none."""
        if not (total := int(self.bins.sum())):
            return math.nan
        cumulated = np.cumsum(self.bins)
        return float(edges()[1:][np.searchsorted(cumulated, part * total)])

    def lowest(self) -> list[Example]:
        """The texts of the lowest perplexity."""
        return self._lowest

    def middle(self) -> list[Example]:
        """Some texts of about the median."""
        if not self.bins.any():
            return []
        middle = int(np.searchsorted(np.cumsum(self.bins), self.bins.sum() / 2))
        return self._in_bin.get(middle, [])

    def highest(self) -> list[Example]:
        """The texts of the highest perplexity, that one first; none of probability 0."""
        return self._highest

    def _keep_examples(
        self,
        perplexity: npt.NDArray[np.float64],
        where: npt.NDArray[np.int64],
        bins: npt.NDArray[np.int64],
        lines: Sequence[bytes],
    ) -> None:
        def example(i: int) -> Example:
            text = lines[i][:_MAX_BYTES].decode(errors="replace") if self._keep_texts else ""
            return Example(float(perplexity[i]), self.texts + i + 1, text)

        ranked = where[np.argsort(perplexity[where], kind="stable")]
        lowest = [example(i) for i in ranked[:_EXAMPLES].tolist()]
        highest = [example(i) for i in ranked[-_EXAMPLES:].tolist()]
        self._lowest = heapq.nsmallest(_EXAMPLES, [*self._lowest, *lowest])
        self._highest = heapq.nlargest(_EXAMPLES, [*self._highest, *highest])
        filled, firsts = np.unique(bins, return_index=True)
        for filled_bin, first in zip(filled.tolist(), where[firsts].tolist(), strict=True):
            kept = self._in_bin.setdefault(filled_bin, [])
            if len(kept) < _EXAMPLES:
                kept.append(example(first))

    def _sample(self) -> None:
        self.samples.append((time.monotonic() - self._began_s, self.texts))
        if len(self.samples) > _MAX_SAMPLES:
            self.samples = [*self.samples[:-1:2], self.samples[-1]]

    def rates(self) -> Iterator[tuple[float, float]]:
        """Seconds since the beginning, and texts a second just before."""
        for (s, texts), (later_s, later) in itertools.pairwise(self.samples):
            if later_s > s:
                yield later_s, (later - texts) / (later_s - s)


def edges() -> npt.NDArray[np.float64]:
    """Bounds of the bins, float64 [bins + 1]."""
    return np.logspace(0, _DECADES, _BINS + 1)


def _bins(perplexity: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    found = np.log10(perplexity) * BINS_PER_DECADE
    return np.clip(found.astype(np.int64), 0, _BINS - 1)
