"""Writing a model's tables from plain columns, for those who hold a whole model in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.layout import (
    EXACT_BITS,
    Layout,
    LevelLayout,
    default_child_bits,
    position_bits,
)
from lmserve.ngram.manifest import (
    BLOCKS_FILE,
    CODEBOOKS_FILE,
    NGRAMS_FILE,
    UNIGRAMS_FILE,
    WIDE_FILE,
)
from lmserve.ngram.packing import Uint32s, Uint64s, block_bases, pack_rows, place_wide
from lmserve.ngram.tables import write_table
from lmserve.ngram.unary import pack_unary

Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainUnigrams:
    """Level 1: a row for every word, in the order of ids.

    Attributes:
        log10_prob: float32 [V]; minus infinity for probability 0, as that of `<s>`.
        log10_backoff: float32 [V]; 0 where nothing was seen after the word.
        first_child: uint64 [V + 1], rows of level 2; the last is their number.
    """

    log10_prob: Float32s
    log10_backoff: Float32s
    first_child: Uint64s


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainLevel:
    """Level k, 2 or more, its rows sorted by (row of the first k - 1 words, last word).

    Attributes:
        positions: uint32 [R], each n-gram's index, without its first word, among the children of
            the context that is left; for k = 2 the id of the last word.
        probs: uint32 [R], the bits of log10 P as a float32 (`.view(np.uint32)`), or codes.
        backoffs: uint32 [R], the same of log10 backoffs; empty in the last level.
        first_child: uint64 [R + 1], rows of level k + 1; the last is their number; empty in the
            last level.
    """

    positions: Uint32s
    probs: Uint32s
    backoffs: Uint32s
    first_child: Uint64s


def exact_layout(unigrams: PlainUnigrams, levels: Sequence[PlainLevel]) -> Layout:
    """The layout of these levels with float32 values."""
    longest = len(unigrams.log10_prob)
    lists = [unigrams.first_child, *(level.first_child for level in levels)]
    layouts = []
    for i, level in enumerate(levels):
        rows = len(level.positions)
        last = i == len(levels) - 1
        layouts.append(
            LevelLayout(
                rows=rows,
                position_bits=position_bits(longest),
                backoff_bits=0 if last else EXACT_BITS,
                child_bits=0 if last else default_child_bits(rows, len(levels[i + 1].positions)),
            )
        )
        longest = longest_list(lists[i])
    return Layout(tuple(layouts))


def longest_list(first_child: Uint64s) -> int:
    """The most children that one row has, of first_child uint64 [R + 1]."""
    return int(np.diff(first_child).max(initial=0))


def write_levels(
    folder: Path,
    unigrams: PlainUnigrams,
    levels: Sequence[PlainLevel],
    layout: Layout | None = None,
    codebooks: Float32s | None = None,
) -> Layout:
    """Writes all tables but the vocabulary's.

    Args:
        folder: an existing folder.
        unigrams: level 1.
        levels: levels 2 .. n.
        layout: widths of all fields; None for `exact_layout`.
        codebooks: float32 [layout.total_codes]; None for an exact model.

    Returns:
        The layout, for the manifest.
    """
    layout = layout or exact_layout(unigrams, levels)
    bits = np.zeros(layout.total_words, np.uint64)
    bases, wide, n_wide = [], [], 0
    for k, (level, plain) in enumerate(zip(layout.levels, levels, strict=True), 2):
        child_offsets = np.empty(0, np.uint32)
        if level.backoff_bits:
            if level.unary_words:
                start = layout.start_unary(k)
                level_bases, child_offsets, level_wide = pack_unary(
                    plain.first_child, level.child_bits, bits[start : start + level.unary_words]
                )
            else:
                level_bases, child_offsets, level_wide = block_bases(
                    plain.first_child, level.child_bits
                )
            bases += [place_wide(level_bases, n_wide), plain.first_child[-1:]]
            wide.append(level_wide)
            n_wide += len(level_wide)
        pack_rows(
            bits,
            layout.start_word(k),
            level.position_bits,
            level.prob_bits,
            level.backoff_bits,
            level.child_bits,
            plain.positions,
            plain.probs,
            plain.backoffs,
            child_offsets,
        )
    empty = np.empty(0, np.uint64)
    write_table(
        folder / UNIGRAMS_FILE,
        {
            "log10_prob": unigrams.log10_prob,
            "log10_backoff": unigrams.log10_backoff,
            "first_child": unigrams.first_child[:-1],
        },
    )
    write_table(folder / NGRAMS_FILE, {"bits": bits})
    write_table(folder / BLOCKS_FILE, {"first_child": np.concatenate([*bases, empty])})
    write_table(folder / WIDE_FILE, {"first_child": np.concatenate([*wide, empty])})
    values = np.empty(0, np.float32) if codebooks is None else codebooks
    write_table(folder / CODEBOOKS_FILE, {"log10": values})
    return layout
