"""Scoring of encoded sentences, many words at a time.

What a sentence has read so far is its chain: for j = 1, 2, ... the row of its last j words in level
j, as far as these are in the model. To score a word w, look for it among the children of each
chain row in turn, from the shortest: for j = 1 by its id, then by its index in the list where it
was found before. The rows found are the next chain. The first list that lacks w ends the search,
for no longer n-gram can be there.

A kernel takes a window of words, sentence after sentence, and goes through it level by level
(`lmserve.ngram.window`).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing, inlined
from lmserve.ngram.bit_access import load_bits
from lmserve.ngram.layout import (
    BACKOFF_BITS,
    BACKOFF_CODES,
    DESCRIPTOR_COLUMNS,
    EXACT_BITS,
    POSITION_BITS,
    PROB_BITS,
    PROB_CODES,
    ROW_BITS,
    START_BIT,
)
from lmserve.ngram.packed import (
    Float32s,
    Int,
    Tables,
    order_of,
)
from lmserve.ngram.window import (
    START,
    Floats,
    Window,
    ask,
    fill_window,
    find,
    find_unigrams,
    place_hits,
)
from lmserve.text.word_table import Ids, Offsets

WINDOW = 128
_LOW = np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def score_lines(
    ids: Ids, line_offsets: Offsets, bos: bool, tables: Tables, window: int
) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Scores every word of every line.

    Args:
        ids: uint32 [N], `OOV` for unknown words.
        line_offsets: int64 [L + 1]; line l is ids[line_offsets[l]:line_offsets[l + 1]].
        bos: lines begin after `<s>`, else after nothing.
        tables: the model.
        window: how many words are looked up side by side; the result does not depend on it.

    Returns:
        log10 probabilities, float64 [N]; lengths of the n-grams used, uint8 [N].
    """
    order = order_of(tables)
    size = window + 1
    w = Window(
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros((order + 1) * size, np.int64),
        np.zeros((order + 1) * size, np.int64),
        np.zeros((order + 1) * size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.float64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
    )
    scores = np.empty(len(ids), np.float64)
    lengths = np.empty(len(ids), np.uint8)
    line, at = 0, np.int64(START)
    while True:
        n, line, at = fill_window(w.tokens, 1, line_offsets, line, at)
        if n == 1:
            return scores, lengths
        find_unigrams(ids, tables, bos, w, n)
        for k in range(2, order + 1):
            hits = find(tables, w, ask(tables, w, n, k), k)
            if k < order:
                place_hits(tables, w, hits, k)
        _add_up(tables, w, n, scores, lengths)
        w.tokens[0] = w.tokens[n - 1]
        w.matched[0] = w.matched[n - 1]
        for k in range(1, order + 1):
            for column in (w.rows, w.begins, w.sizes):
                column[k * size] = column[k * size + n - 1]


@borrowing
def _add_up(
    tables: Tables, w: Window, n: int, scores: Floats, lengths: npt.NDArray[np.uint8]
) -> None:
    """Probability of the longest n-gram, and the backoffs of the chain rows that lack the word."""
    bits, levels, codebooks = tables.bits, tables.levels, tables.codebooks
    log10_prob, log10_backoff = tables.log10_prob, tables.log10_backoff
    size = len(w.tokens)
    longest = order_of(tables) - 1
    for s in range(1, n):
        token = w.tokens[s]
        if token < 0:
            continue
        matched = w.matched[s]
        row = w.rows[matched * size + s]
        if matched == 1:
            score = np.float64(log10_prob[row])
        else:
            level = (matched - 2) * DESCRIPTOR_COLUMNS
            at = levels[level + START_BIT] + row * levels[level + ROW_BITS]
            field = load_bits(bits, np.uint64(at + levels[level + POSITION_BITS]))
            width, codes = levels[level + PROB_BITS], levels[level + PROB_CODES]
            score = _value(field, width, codes, codebooks)
        for j in range(matched, min(w.matched[s - 1], longest) + 1):
            row = w.rows[j * size + s - 1]
            if j == 1:
                score += log10_backoff[row]
                continue
            level = (j - 2) * DESCRIPTOR_COLUMNS
            at = levels[level + START_BIT] + row * levels[level + ROW_BITS]
            at += levels[level + POSITION_BITS] + levels[level + PROB_BITS]
            width, codes = levels[level + BACKOFF_BITS], levels[level + BACKOFF_CODES]
            score += _value(load_bits(bits, np.uint64(at)), width, codes, codebooks)
        scores[token] = score
        lengths[token] = matched


@inlined
def _value(field: np.uint64, width: Int, codes: Int, codebooks: Float32s) -> np.float64:
    """A log10 number: a float32 of 32 bits, or a code into the codebook that starts at `codes`."""
    if width == EXACT_BITS:
        return np.float64(np.uint32(field & _LOW).view(np.float32))
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    return np.float64(codebooks[codes + np.int64(field & mask)])
