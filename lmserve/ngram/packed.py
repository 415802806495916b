"""The packed tables as kernels see them, and how a row's fields are read.

Everything here reads inside the arrays whatever they hold: `open_tables` compares the lengths of
the columns with the layout once, and every row number read from a table is clamped to its level.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmserve.errors import CorruptModelError
from lmserve.kernels import borrowing, inlined
from lmserve.ngram.layout import (
    BACKOFF_BITS,
    BACKOFF_CODES,
    BLOCK_ROWS,
    CHILD_BITS,
    DESCRIPTOR_COLUMNS,
    EXACT_BITS,
    POSITION_BITS,
    PROB_BITS,
    PROB_CODES,
    ROW_BITS,
    ROWS,
    START_BIT,
    START_BLOCK,
    UNARY_BLOCK_ROWS,
    UNARY_START,
    UNARY_WORDS,
)
from lmserve.ngram.manifest import (
    BLOCKS_FILE,
    CODEBOOKS_FILE,
    NGRAMS_FILE,
    SCHEMAS,
    UNIGRAMS_FILE,
    WIDE_FILE,
    Manifest,
)
from lmserve.ngram.tables import Array, as_numpy, open_table
from lmserve.ngram.unary import next_one, nth_one

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
# What kernels compute with: Numba makes one of both.
Int = int | np.int64
Uint64s = npt.NDArray[np.uint64]

_WITHOUT_SIGN = (1 << 63) - 1


class Tables(NamedTuple):
    """A model's numbers; V words, levels 2 .. n in `levels`.

    Attributes:
        log10_prob: float32 [V], of unigrams.
        log10_backoff: float32 [V], of unigrams.
        first_child: int64 [V], rows of level 2.
        bits: uint64, all other levels.
        blocks: int64; negative for wide blocks.
        wide: int64.
        codebooks: float32.
        levels: int64 [(n - 1) DESCRIPTOR_COLUMNS], see `lmserve.ngram.layout`; flat, for Numba
            counts references to every row that is taken out of an array.
    """

    log10_prob: Float32s
    log10_backoff: Float32s
    first_child: Int64s
    bits: Uint64s
    blocks: Int64s
    wide: Int64s
    codebooks: Float32s
    levels: Int64s


def open_tables(folder: Path, manifest: Manifest) -> Tables:
    """Maps the tables of a model.

    Raises:
        CorruptModelError: a file is damaged, or its length is not what the manifest says.
    """
    unigrams = open_table(folder / UNIGRAMS_FILE, SCHEMAS[UNIGRAMS_FILE])
    layout = manifest.layout
    tables = Tables(
        log10_prob=as_numpy(unigrams["log10_prob"]),
        log10_backoff=as_numpy(unigrams["log10_backoff"]),
        first_child=as_numpy(unigrams["first_child"]).view(np.int64),
        bits=_column(folder, NGRAMS_FILE),
        blocks=_column(folder, BLOCKS_FILE).view(np.int64),
        wide=_column(folder, WIDE_FILE).view(np.int64),
        codebooks=_column(folder, CODEBOOKS_FILE),
        levels=layout.descriptor().ravel(),
    )
    found = (len(tables.log10_prob), len(tables.bits), len(tables.blocks), len(tables.codebooks))
    expected = (
        manifest.ngrams[0] if manifest.ngrams else 0,
        layout.total_words,
        layout.total_blocks,
        layout.total_codes,
    )
    rows = [level.rows for level in manifest.levels]
    if found != expected or rows != manifest.ngrams[1:] or manifest.order != len(manifest.ngrams):
        raise CorruptModelError(
            f"{folder}: {found} words, bit words, blocks and codes are there, but the manifest "
            f"says {expected} for n-grams {manifest.ngrams} of order {manifest.order}",
            "Build the model again, or copy it again.",
        )
    return tables


def _column(folder: Path, name: str) -> Array:
    (column,) = open_table(folder / name, SCHEMAS[name]).values()
    return as_numpy(column)


@borrowing
def read_bits(bits: Uint64s, at: Int, width: Int) -> np.int64:
    """The field of `width` bits, 0 to 32, that begins at bit `at`."""
    word = at >> 6
    shift = np.uint64(at & 63)
    value = (bits[word] >> shift) | ((bits[word + 1] << np.uint64(1)) << (np.uint64(63) - shift))
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))


@borrowing
def read_value(bits: Uint64s, codebooks: Float32s, at: Int, width: Int, codes: Int) -> float:
    """A log10 number: a float32 of 32 bits, or a code into the codebook that starts at `codes`."""
    field = read_bits(bits, at, width)
    if width == EXACT_BITS:
        return np.float64(np.uint32(field).view(np.float32))
    return np.float64(codebooks[codes + field])


@borrowing
def read_prob(bits: Uint64s, codebooks: Float32s, levels: Int64s, level: Int, row: Int) -> float:
    """log10 P of a row of the level whose row of `levels`, flattened, begins at `level`."""
    at = levels[level + START_BIT] + row * levels[level + ROW_BITS] + levels[level + POSITION_BITS]
    return read_value(bits, codebooks, at, levels[level + PROB_BITS], levels[level + PROB_CODES])


@borrowing
def read_backoff(bits: Uint64s, codebooks: Float32s, levels: Int64s, level: Int, row: Int) -> float:
    """log10 backoff of a row of a level below the last."""
    at = (
        levels[level + START_BIT]
        + row * levels[level + ROW_BITS]
        + levels[level + POSITION_BITS]
        + levels[level + PROB_BITS]
    )
    return read_value(
        bits, codebooks, at, levels[level + BACKOFF_BITS], levels[level + BACKOFF_CODES]
    )


@borrowing
def read_child_offsets(bits: Uint64s, levels: Int64s, level: Int, row: Int) -> tuple[Int, Int]:
    """Child offsets of a row and of the next; -1 for the next where it begins a block."""
    row_bits, width = levels[level + ROW_BITS], levels[level + CHILD_BITS]
    at = levels[level + START_BIT] + (row + 1) * row_bits - width
    last = row % BLOCK_ROWS == BLOCK_ROWS - 1 or row + 1 == levels[level + ROWS]
    return read_bits(bits, at, width), -1 if last else read_bits(bits, at + row_bits, width)


@borrowing
def _wide_at(wide: Int64s, index: Int) -> Int:
    return wide[index] if 0 <= index < len(wide) else 0


@borrowing
def place_children(
    blocks: Int64s, wide: Int64s, block: Int, row: Int, offset: Int, next_offset: Int, rows: Int
) -> tuple[Int, Int]:
    """Where a row's children begin and end in the level above.

    Args:
        blocks: int64.
        wide: int64.
        block: index in `blocks`: the level's start plus row // 32.
        row: of the level; only row % 32 matters.
        offset: and `next_offset`: from `read_child_offsets`.
        rows: of the level above.
    """
    entry = blocks[block]
    first = (entry & _WITHOUT_SIGN) + row % BLOCK_ROWS
    begin = entry + offset if entry >= 0 else _wide_at(wide, first)
    if next_offset < 0:
        end = blocks[block + 1]
        if end < 0:
            end = _wide_at(wide, end & _WITHOUT_SIGN)
    else:
        end = entry + next_offset if entry >= 0 else _wide_at(wide, first + 1)
    begin = min(max(begin, 0), rows)
    return begin, min(max(end, begin), rows)


@inlined
def unary_base(tables: Tables, level: Int, row: Int) -> Int:
    """In a level with first children in unary, the bit of the one of the first row of a block."""
    levels, block = tables.levels, row // UNARY_BLOCK_ROWS
    entry = tables.blocks[levels[level + START_BLOCK] + block]
    start, words = levels[level + UNARY_START], levels[level + UNARY_WORDS]
    one = (start << 6) + (entry >> levels[level + CHILD_BITS]) + block * UNARY_BLOCK_ROWS
    return np.int64(min(max(one, start << 6), ((start + words) << 6) - 1))


@inlined
def unary_children(tables: Tables, level: Int, row: Int) -> tuple[Int, Int]:
    """Where a row's children begin and end, not clamped, in a level that has them in unary."""
    levels, bits = tables.levels, tables.bits
    block = levels[level + START_BLOCK] + row // UNARY_BLOCK_ROWS
    i = row % UNARY_BLOCK_ROWS
    entry = tables.blocks[block]
    last = i == UNARY_BLOCK_ROWS - 1 or row + 1 == levels[level + ROWS]
    end = tables.blocks[block + 1] if last else np.int64(0)
    if end < 0:
        end = _wide_at(tables.wide, end & _WITHOUT_SIGN)
    if entry < 0:
        first = (entry & _WITHOUT_SIGN) + i
        return _wide_at(tables.wide, first), end if last else _wide_at(tables.wide, first + 1)
    width, row_bits = levels[level + CHILD_BITS], levels[level + ROW_BITS]
    stop = levels[level + UNARY_START] + levels[level + UNARY_WORDS]
    # The bit that would be this row's one, if its first child were in row 0.
    zero = (levels[level + UNARY_START] << 6) + row
    at = levels[level + START_BIT] + (row + 1) * row_bits - width
    one = nth_one(bits, unary_base(tables, level, row), i, stop)
    begin = ((one - zero) << width) | read_bits(bits, at, width)
    if not last:
        one = next_one(bits, min(one, (stop << 6) - 1), stop)
        end = ((one - zero - 1) << width) | read_bits(bits, at + row_bits, width)
    return begin, end


@borrowing
def order_of(tables: Tables) -> int:
    """The model's n."""
    return len(tables.levels) // DESCRIPTOR_COLUMNS + 1


@inlined
def children(tables: Tables, k: Int, row: Int) -> tuple[Int, Int]:
    """Where the children of a row of level k, below the last, begin and end in level k + 1."""
    if k == 1:
        rows = tables.levels[ROWS]
        begin = tables.first_child[row]
        end = tables.first_child[row + 1] if row + 1 < len(tables.first_child) else rows
        begin = min(max(begin, 0), rows)
        return begin, min(max(end, begin), rows)
    levels, level = tables.levels, (k - 2) * DESCRIPTOR_COLUMNS
    rows = levels[level + DESCRIPTOR_COLUMNS + ROWS]
    if levels[level + UNARY_WORDS] > 0:
        begin, end = unary_children(tables, level, row)
        begin = min(max(begin, 0), rows)
        return begin, min(max(end, begin), rows)
    offset, next_offset = read_child_offsets(tables.bits, levels, level, row)
    block = levels[level + START_BLOCK] + row // BLOCK_ROWS
    return place_children(tables.blocks, tables.wide, block, row, offset, next_offset, rows)


@borrowing
def search(tables: Tables, k: Int, begin: Int, end: Int, key: Int, universe: Int) -> Int:
    """The row of level k, 2 or more, in [begin, end) whose position is `key`, or -1.

    Args:
        tables: the model.
        k: the level.
        begin: and `end`: one row's children.
        key: at least 0.
        universe: positions are below it.
    """
    levels, level = tables.levels, (k - 2) * DESCRIPTOR_COLUMNS
    low, high = begin, end
    low_key: Int = 0
    high_key = universe
    probes = 0
    while low < high and key < high_key:
        middle = guess(low, high, low_key, high_key, key, probes)
        at = levels[level + START_BIT] + middle * levels[level + ROW_BITS]
        found = read_bits(tables.bits, at, levels[level + POSITION_BITS])
        if found == key:
            return middle
        if found < key:
            low, low_key = middle + 1, found + 1
        else:
            high, high_key = middle, found
        probes += 1
    return -1


@borrowing
def guess(low: Int, high: Int, low_key: Int, high_key: Int, key: Int, probes: Int) -> Int:
    """Where in the rows [low, high), whose keys are in [low_key, high_key), to look for a key.

    By interpolation, as keys are evenly spread; where they turn out not to be, in the middle.
    """
    if probes < 6:
        return low + (key - low_key) * (high - low) // (high_key - low_key)
    return (low + high) >> 1
