"""What a batch of scores adds to the metrics, in one pass."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmserve.kernels import holding
from lmserve.scorer import TextScores


class Tally(NamedTuple):
    """Sums over a batch of texts.

    Attributes:
        words: scored, sentence ends included.
        oov: of these, outside the vocabulary.
        likely_words: of texts that are not impossible.
        log10_prob: of the same texts.
        perplexity: of texts whose perplexity is finite.
    """

    words: int
    oov: int
    likely_words: int
    log10_prob: float
    perplexity: float


class Buckets:
    """Counts values by the bucket they belong to.

    Args:
        bounds: the largest value of each bucket, rising, the last of them infinite.
    """

    def __init__(self, bounds: list[float]) -> None:
        self._bounds = np.array(bounds)
        # Compiles or loads the kernel before somebody waits for it.
        self.tally(TextScores.concatenate([]), np.empty(0))

    def tally(
        self, scores: TextScores, perplexity: npt.NDArray[np.float64]
    ) -> tuple[Tally, list[int]]:
        """The sums over a batch, and the texts of each bucket by their perplexity.

        Args:
            scores: of B texts.
            perplexity: float64 [B], `scores.perplexity()`.
        """
        counts = np.zeros(len(self._bounds), np.int64)
        sums = _tally(
            scores.log10_prob, scores.tokens, scores.oov, perplexity, self._bounds, counts
        )
        return sums, counts.tolist()


@holding
def _tally(
    log10_prob: npt.NDArray[np.float64],
    tokens: npt.NDArray[np.int64],
    oov: npt.NDArray[np.int64],
    perplexity: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> Tally:
    """The sums; `counts` is added to.

    Args:
        log10_prob, tokens, oov: columns of `TextScores`.
        perplexity: float64 [B].
        bounds: float64 [K], the last of them infinite.
        counts: int64 [K].
    """
    words = unknown = likely_words = 0
    likely = finite = 0.0
    for text in range(len(tokens)):
        words += tokens[text]
        unknown += oov[text]
        if log10_prob[text] > -np.inf:
            likely_words += tokens[text]
            likely += log10_prob[text]
        if perplexity[text] < np.inf:
            finite += perplexity[text]
        bucket = 0
        while perplexity[text] > bounds[bucket]:
            bucket += 1
        counts[bucket] += 1
    return Tally(words, unknown, likely_words, likely, finite)
