"""Unpacking: from a finished model's bits back to plain columns, level by level."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.errors import CorruptModelError
from lmserve.ngram.model import NgramModel
from lmserve.ngram.packed import Float32s, Int64s
from lmserve.ngram.packing import Uint32s, Uint64s, unpack_children, unpack_field
from lmserve.ngram.unary import unpack_unary
from lmserve.text.word_table import Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpackedLevel:
    """The words of level k.

    Attributes:
        words: uint32 [R], the n-grams' last words.
        first_child: int64 [R + 1], rows of level k + 1; all 0 in the last level.
        suffixes: int64 [R], rows of the n-grams without their first words; empty in level 1.
    """

    words: Ids
    first_child: Int64s
    suffixes: Int64s


def unpack_words(model: NgramModel) -> Iterator[list[UnpackedLevel]]:
    """Yields levels [1], then [1, 2], and so on: what it takes to spell the n-grams of the last.

    Raises:
        CorruptModelError: lists of children are not one after the other, or a position points
            past its list.
    """
    levels: list[UnpackedLevel] = []
    for k in range(1, model.order + 1):
        rows = model.manifest.ngrams[k - 1]
        first_child = read_first_children(model, k).astype(np.int64)
        if k == 1:
            words, suffixes = np.arange(rows, dtype=np.uint32), np.empty(0, np.int64)
        elif k == 2:
            words = read_positions(model, k)
            suffixes = words.astype(np.int64)
            if words.max(initial=0) >= len(levels[0].words):
                raise _corrupt(model, k)
        else:
            suffixes, words, whole = _follow_positions(
                read_positions(model, k),
                levels[-1].suffixes,
                levels[-1].first_child,
                levels[-2].first_child,
                levels[-1].words,
            )
            if not whole:
                raise _corrupt(model, k)
        levels.append(UnpackedLevel(words=words, first_child=first_child, suffixes=suffixes))
        yield levels


@njit(cache=True, nogil=True)
def _follow_positions(
    positions: Uint32s, suffixes: Int64s, first_child: Int64s, first_of_context: Int64s, words: Ids
) -> tuple[Int64s, Ids, bool]:
    """Where positions of level k, 3 or more, lead.

    Args:
        positions: uint32 [R].
        suffixes: int64 [P], of level k - 1.
        first_child: int64 [P + 1], of level k - 1.
        first_of_context: int64 [C + 1], first children of level k - 2.
        words: uint32 [P], of level k - 1.

    Returns:
        Suffixes of level k, int64 [R]; its words, uint32 [R]; whether all are in their lists.
    """
    found = np.empty(len(positions), np.int64)
    found_words = np.empty(len(positions), np.uint32)
    for parent in range(len(suffixes)):
        context = suffixes[parent]
        begin, end = first_of_context[context], first_of_context[context + 1]
        for row in range(first_child[parent], first_child[parent + 1]):
            suffix = begin + positions[row]
            if suffix >= end:
                return found, found_words, False
            found[row], found_words[row] = suffix, words[suffix]
    return found, found_words, True


def spell(levels: list[UnpackedLevel], begin: int, end: int) -> Ids:
    """Rows [begin, end) of the last of some levels, uint32 [end - begin, k], in reading order."""
    ids = np.empty((end - begin, len(levels)), np.uint32)
    rows = np.arange(begin, end)
    for j in range(len(levels) - 1, -1, -1):
        ids[:, j] = levels[j].words[rows]
        if j > 0:
            rows = parents_of(levels[j - 1].first_child, rows)
    return ids


@njit(cache=True, nogil=True)
def parents_of(first_child: Int64s, rows: Int64s) -> Int64s:
    """The parent of each of some rising rows: int64; first_child int64 [R + 1] of the parents."""
    parents = np.empty(len(rows), np.int64)
    parent = np.int64(0)
    if len(rows) > 0:
        parent = np.int64(np.searchsorted(first_child, rows[0], side="right")) - 1
    for i in range(len(rows)):
        while first_child[parent + 1] <= rows[i]:
            parent += 1
        parents[i] = parent
    return parents


def read_positions(model: NgramModel, k: int) -> Uint32s:
    """The field position of all rows of level k, 2 or more: uint32 [R]."""
    level = model.manifest.layout.levels[k - 2]
    return unpack_field(
        model.tables.bits,
        model.manifest.layout.start_word(k) * 64,
        level.row_bits,
        level.position_bits,
        0,
        level.rows,
    )


def read_first_children(model: NgramModel, k: int) -> Uint64s:
    """Rows of level k + 1 where the children of level k's rows begin: uint64 [R + 1].

    Raises:
        CorruptModelError: they do not rise from 0 to the rows of level k + 1.
    """
    layout, tables = model.manifest.layout, model.tables
    rows = model.manifest.ngrams[k - 1]
    if k == model.order:
        return np.zeros(rows + 1, np.uint64)
    if k == 1:
        first_child = tables.first_child.view(np.uint64)
    else:
        level = layout.levels[k - 2]
        start_bit = layout.start_word(k) * 64 + level.row_bits - level.child_bits
        offsets = unpack_field(tables.bits, start_bit, level.row_bits, level.child_bits, 0, rows)
        if level.unary_words:
            start = layout.start_unary(k)
            vector = tables.bits[start : start + level.unary_words]
            first_child = unpack_unary(vector, offsets, level.child_bits)
        else:
            start = layout.start_block(k)
            bases = tables.blocks[start : start + level.blocks].view(np.uint64)
            first_child = unpack_children(bases, tables.wide.view(np.uint64), offsets, 0)
    above = model.manifest.ngrams[k]
    closed = np.append(first_child, np.uint64(above))
    if closed[0] != 0 or (closed[1:] < closed[:-1]).any():
        raise _corrupt(model, k)
    return closed


def read_values(
    model: NgramModel, k: int, begin: int, end: int
) -> tuple[Float32s, npt.NDArray[np.float32]]:
    """log10 P and log10 backoff of rows [begin, end) of level k: float32, float32.

    The backoffs of the last level are all 0.
    """
    tables = model.tables
    if k == 1:
        return tables.log10_prob[begin:end], tables.log10_backoff[begin:end]
    layout = model.manifest.layout
    level = layout.levels[k - 2]
    start_bit = layout.start_word(k) * 64 + level.position_bits
    start_code = layout.start_code(k)
    prob_codes, backoff_codes = 1 << level.prob_bits, 1 << level.backoff_bits
    values = []
    for width, bit, codes, size in (
        (level.prob_bits, start_bit, start_code, prob_codes),
        (level.backoff_bits, start_bit + level.prob_bits, start_code + prob_codes, backoff_codes),
    ):
        if width == 0:
            values.append(np.zeros(end - begin, np.float32))
            continue
        field = unpack_field(tables.bits, bit, level.row_bits, width, begin, end - begin)
        exact = level.codes == 0
        values.append(
            field.view(np.float32) if exact else tables.codebooks[codes : codes + size][field]
        )
    return values[0], values[1]


def _corrupt(model: NgramModel, k: int) -> CorruptModelError:
    return CorruptModelError(
        f"{model.folder}: the {k}-grams point outside the levels beside them",
        "Build the model again, or copy it again.",
    )
