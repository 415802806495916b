"""From scores of words to scores of texts."""

import numpy as np
from numba import njit

from lmserve.ngram.packed import Int64s
from lmserve.ngram.window import Floats
from lmserve.text.word_table import OOV, Ids, Offsets


@njit(cache=True, nogil=True)
def sum_lines(ids: Ids, line_offsets: Offsets, scores: Floats) -> tuple[Floats, Floats, Int64s]:
    """Sums of each line's scores; of its known words' scores; the number of unknown ones.

    Args:
        ids: uint32 [N], `OOV` for unknown words.
        line_offsets: int64 [L + 1].
        scores: float64 [N].

    Returns:
        float64 [L], float64 [L], int64 [L].
    """
    lines = len(line_offsets) - 1
    total = np.zeros(lines, np.float64)
    known = np.zeros(lines, np.float64)
    oov = np.zeros(lines, np.int64)
    for line in range(lines):
        # Not added up in the arrays: each addition would wait for the one before to be stored.
        line_total = line_known = 0.0
        line_oov = 0
        for i in range(line_offsets[line], line_offsets[line + 1]):
            line_total += scores[i]
            if ids[i] == OOV:
                line_oov += 1
            else:
                line_known += scores[i]
        total[line], known[line], oov[line] = line_total, line_known, line_oov
    return total, known, oov
