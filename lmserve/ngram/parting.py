"""Many texts scored part by part: what comes between the steps of a part stays in the cache."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lmserve.errors import OptionError
from lmserve.scorer import TextScores
from lmserve.text.word_table import Offsets

# Text that is scored in one go; its ids and scores fit into a processor's second cache.
_PART_BYTES = 1 << 17


def score_parts(
    offsets: Offsets, score: Callable[[Offsets], TextScores], threads: int
) -> TextScores:
    """Scores texts in parts of some bytes.

    Args:
        offsets: int64 [T + 1], where each text begins in some bytes.
        score: scores the texts that a part of the offsets tells; leaves other threads alone.
        threads: parts scored at the same time.

    Raises:
        OptionError: `threads` is below 1.
    """
    if threads < 1:
        raise OptionError(f"threads is {threads}", "Give 1 thread or more.")
    if threads == 1:
        return TextScores.concatenate(list(map(score, _parts(offsets))))
    with ThreadPoolExecutor(threads) as pool:
        return TextScores.concatenate(list(pool.map(score, _parts(offsets))))


def _parts(offsets: Offsets) -> Iterator[Offsets]:
    begin = 0
    while begin < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[begin] + _PART_BYTES))
        part = offsets[begin : max(end, begin + 1) + 1]
        yield part
        begin += len(part) - 1
