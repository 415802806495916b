"""Query kernels over a model's two tables (see `assembling` for their layout).

They read only inside the arrays whatever these hold: a table may come from anywhere.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.grouping import Int64s
from lmserve.ngram.smoothing import Floats
from lmserve.text.special_tokens import BOS, UNK
from lmserve.text.word_table import OOV, Ids, Offsets


@njit(cache=True, nogil=True)
def find_in_range(words: Ids, begin: int, end: int, word: int) -> int:
    """The row of `word` in the sorted words[begin:end], or -1."""
    low = max(begin, 0)
    high = min(end, len(words))
    stop = high
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < stop and words[low] == word else -1


@njit(cache=True, nogil=True)
def walk(history: Ids, context_word: Ids, first_child: Int64s, path: Int64s) -> int:
    """Finds the longest context of the model that ends a history.

    Args:
        history: uint32 [H], the words before, the nearest first.
        context_word: uint32 [C + 1].
        first_child: int64 [C + 1].
        path: int64 [order or more]; receives the rows of the contexts of 0, 1, ... words.

    Returns:
        The number of words of the longest context found.
    """
    path[0] = 0
    row = 0
    for depth in range(len(history)):
        if depth == 0:
            # Every vocabulary word has a row, in the order of ids.
            row = 1 + history[0] if 1 + history[0] < len(context_word) - 1 else -1
        else:
            row = find_in_range(
                context_word, first_child[row], first_child[row + 1], history[depth]
            )
        if row < 0 or row >= len(context_word) - 1:
            return depth
        path[depth + 1] = row
    return len(history)


@njit(cache=True, nogil=True)
def score_word(
    word: int,
    path: Int64s,
    depth: int,
    first_ngram: Int64s,
    log10_backoff: Floats,
    ngram_word: Ids,
    log10_prob: Floats,
) -> tuple[float, int]:
    """log10 P(word | the context at path[depth]), and the length of the n-gram it came from."""
    backed_off = 0.0
    for d in range(depth, 0, -1):
        row = path[d]
        gram = find_in_range(ngram_word, first_ngram[row], first_ngram[row + 1], word)
        if gram >= 0:
            return backed_off + log10_prob[gram], d + 1
        backed_off += log10_backoff[row]
    return backed_off + log10_prob[word], 1


@njit(cache=True, nogil=True)
def score_lines(
    ids: Ids,
    line_offsets: Offsets,
    bos: bool,
    order: int,
    context_word: Ids,
    first_child: Int64s,
    first_ngram: Int64s,
    log10_backoff: Floats,
    ngram_word: Ids,
    log10_prob: Floats,
) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Scores every word of every line.

    Args:
        ids: uint32 [N], `OOV` for unknown words.
        line_offsets: int64 [L + 1]; line l is ids[line_offsets[l]:line_offsets[l + 1]].
        bos: lines begin after `<s>`, else after nothing.
        order: n.
        context_word: and so on: the model's columns.

    Returns:
        log10 probabilities, float64 [N]; lengths of the n-grams used, uint8 [N].
    """
    scores = np.empty(len(ids), np.float64)
    lengths = np.empty(len(ids), np.uint8)
    path = np.empty(order + 1, np.int64)
    history = np.empty(order, np.uint32)
    for line in range(len(line_offsets) - 1):
        known = 0
        if bos and order > 1:
            history[0] = BOS
            known = 1
        for i in range(line_offsets[line], line_offsets[line + 1]):
            word = UNK if ids[i] == OOV else int(ids[i])
            depth = walk(history[:known], context_word, first_child, path)
            scores[i], lengths[i] = score_word(
                word, path, depth, first_ngram, log10_backoff, ngram_word, log10_prob
            )
            # A context longer than the n-gram just matched cannot be in the model.
            known = min(order - 1, int(lengths[i]))
            for j in range(known - 1, 0, -1):
                history[j] = history[j - 1]
            if known > 0:
                history[0] = word
    return scores, lengths


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
        for i in range(line_offsets[line], line_offsets[line + 1]):
            total[line] += scores[i]
            if ids[i] == OOV:
                oov[line] += 1
            else:
                known[line] += scores[i]
    return total, known, oov


@njit(cache=True, nogil=True)
def find_contexts(ngrams: Ids, context_word: Ids, first_child: Int64s) -> Int64s:
    """The row of each word sequence in the table of contexts, or -1: int64 [N].

    Args:
        ngrams: uint32 [N, k], each row in reading order.
        context_word: uint32 [C + 1].
        first_child: int64 [C + 1].
    """
    rows = np.empty(len(ngrams), np.int64)
    k = ngrams.shape[1]
    path = np.empty(k + 1, np.int64)
    for i in range(len(ngrams)):
        depth = walk(ngrams[i, ::-1].copy(), context_word, first_child, path)
        rows[i] = path[k] if depth == k else -1
    return rows
