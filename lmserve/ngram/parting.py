"""Many texts scored part by part: what comes between the steps of a part takes little memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lmserve.errors import OptionError
from lmserve.scorer import TextScores
from lmserve.text.word_table import Offsets

# Text that is scored in one go: a part costs some 0.1 ms by itself. Threads take the next part when
# they have done one, so that of several none waits long for the last.
_LEAST_BYTES, _MOST_BYTES = 1 << 17, 1 << 20
_PARTS_A_THREAD = 4


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
    share = int(offsets[-1] - offsets[0]) // (_PARTS_A_THREAD * threads)
    parts = _parts(offsets, min(max(share, _LEAST_BYTES), _MOST_BYTES))
    if threads == 1:
        return TextScores.concatenate(list(map(score, parts)))
    with ThreadPoolExecutor(threads) as pool:
        return TextScores.concatenate(list(pool.map(score, parts)))


def _parts(offsets: Offsets, part_bytes: int) -> Iterator[Offsets]:
    begin = 0
    while begin < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[begin] + part_bytes))
        part = offsets[begin : max(end, begin + 1) + 1]
        yield part
        begin += len(part) - 1
