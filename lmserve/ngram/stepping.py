"""One word at a time: from a context's rows and a word to its score and the next context's rows."""

import numpy as np
from numba import njit

from lmserve.kernels import borrowing
from lmserve.ngram.layout import DESCRIPTOR_COLUMNS
from lmserve.ngram.packed import (
    Int,
    Int64s,
    Tables,
    children,
    order_of,
    read_backoff,
    read_prob,
    search,
)


@borrowing
def backoff_of(tables: Tables, k: Int, row: Int) -> float:
    """log10 backoff of a row of level k, below the last."""
    if k == 1:
        return np.float64(tables.log10_backoff[row])
    return read_backoff(
        tables.bits, tables.codebooks, tables.levels, (k - 2) * DESCRIPTOR_COLUMNS, row
    )


@borrowing
def prob_of(tables: Tables, k: Int, row: Int) -> float:
    """log10 P of a row of level k."""
    if k == 1:
        return np.float64(tables.log10_prob[row])
    return read_prob(
        tables.bits, tables.codebooks, tables.levels, (k - 2) * DESCRIPTOR_COLUMNS, row
    )


@njit(cache=True, nogil=True)
def step(tables: Tables, rows: Int64s, word: Int) -> tuple[float, int, Int64s]:
    """Scores a word after a context.

    Args:
        tables: the model.
        rows: int64 [K], K < n: in level j + 1 the row of the context's last j + 1 words.
        word: an id of the vocabulary.

    Returns:
        log10 P(word | context); the length of the n-gram used; the rows of the context that ends
        in this word, int64 [< n], without those at the end that tell nothing.
    """
    order = order_of(tables)
    found = np.empty(order, np.int64)
    found[0] = word
    matched = 1
    key: Int = word
    universe: Int = len(tables.log10_prob)
    for j in range(1, len(rows) + 1):
        begin, end = children(tables, j, rows[j - 1])
        row = search(tables, j + 1, begin, end, key, universe)
        if row < 0:
            break
        found[j] = row
        matched = j + 1
        key, universe = row - begin, end - begin
    score = prob_of(tables, matched, found[matched - 1])
    for j in range(matched, len(rows) + 1):
        score += backoff_of(tables, j, rows[j - 1])
    return score, matched, trim(tables, found[: min(matched, order - 1)])


@njit(cache=True, nogil=True)
def trim(tables: Tables, rows: Int64s) -> Int64s:
    """A context's rows without those at its end that have no children and no backoff."""
    k = len(rows)
    while k > 0:
        begin, end = children(tables, k, rows[k - 1])
        if begin < end or backoff_of(tables, k, rows[k - 1]) != 0.0:
            break
        k -= 1
    return rows[:k].copy()
