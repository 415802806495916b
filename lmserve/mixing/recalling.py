"""The kernel of a cache of words: from a word to where it was before, never over all of them.

So a word costs what is remembered of it and of the word before it: in a text of one word, over and
over, all of the cache.
"""

import numpy as np
import numpy.typing as npt

from lmserve.kernels import borrowing, inlined
from lmserve.text.word_table import Ids

# Words before a word that are compared. All scores depend on it: with another number, digests of
# mixtures with a cache have to change.
CONTEXT = 2

_Int64s = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@inlined
def _alike(ids: Ids, i: int, t: int, low: int) -> int:
    """How many words before places i and t are the same, one by one, none of them before `low`."""
    count = 0
    while count < CONTEXT and i - 1 - count >= low and ids[i - 1 - count] == ids[t - 1 - count]:
        count += 1
    return count


@borrowing
def recall(
    ids: Ids,
    previous: _Int64s,
    starts: _Int64s,
    read: int,
    ages: _Floats,
    gains: _Floats,
    hits: _Floats,
    totals: _Floats,
) -> None:
    """Fills, for every word but the first `read`, what the words before say of it.

    Args:
        ids: uint32 [N], of all texts, without `OOV`.
        previous: int64 [N], where the same id was before, in any text; -1 where it was not.
        starts: int64 [B + 1].
        read: see above; of the first text.
        ages: float64 [M], delta^0, delta^1, ...; words that are older are forgotten.
        gains: float64 [`CONTEXT` + 1], e^(theta m).
        hits: float64 [N], to be filled; see `word_cache.Recalled`.
        totals: likewise.
    """
    for text in range(len(starts) - 1):
        begin = starts[text]
        # Of the words that are remembered, whatever they are.
        base = 0.0
        for t in range(begin, starts[text + 1]):
            low = max(begin, t - len(ages))
            if t > begin and t - begin <= len(ages):
                base += ages[t - begin - 1]
            if t < read:
                continue
            total = base
            if t > begin:
                # What follows the words that are like the last one counts more. The oldest word
                # follows none that is remembered.
                i = previous[t - 1] + 1
                while i > low:
                    total += ages[t - 1 - i] * (gains[_alike(ids, i, t, low)] - 1.0)
                    i = previous[i - 1] + 1
            totals[t] = total
            i = previous[t]
            hit = 0.0
            while i >= low:
                hit += ages[t - 1 - i] * gains[_alike(ids, i, t, low)]
                i = previous[i]
            hits[t] = hit
