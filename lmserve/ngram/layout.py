"""Layout: how wide the fields of a model's packed rows are, and where each level lies.

Level k holds the k-grams; level 1, the unigrams, has plain columns of its own. The rows of levels
2 .. n lie one level after the other in the column `bits`. A row is `row_bits` wide; its fields are,
from the lowest bit: position, log10_prob, log10_backoff, child_offset. The last two are missing in
level n. 64 rows are `row_bits` whole words of 64 bits, and every level begins with such a group.

Where a row's children begin is coded in one of two ways, see `packing` and `unary`: as an offset
from what a block of rows has in common, or in unary, in a vector of bits that follows the rows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

GROUP_ROWS: Final = 64
BLOCK_ROWS: Final = 32
UNARY_BLOCK_ROWS: Final = 64
# A value's width when it is not a code but a float32.
EXACT_BITS: Final = 32
MAX_FIELD_BITS: Final = 32

# Columns of `Layout.descriptor`.
ROWS, START_BIT, ROW_BITS, POSITION_BITS, PROB_BITS, BACKOFF_BITS, CHILD_BITS = range(7)
START_BLOCK, PROB_CODES, BACKOFF_CODES, UNARY_START, UNARY_WORDS = range(7, 12)
DESCRIPTOR_COLUMNS: Final = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelLayout:
    """One level's number of rows and the widths of its fields in bits.

    Attributes:
        rows: n-grams of this level.
        position_bits: of the index among the suffix context's children; at most 32.
        prob_bits: 32 for a float32, fewer for a code.
        backoff_bits: the same; 0 in the last level.
        child_bits: of the offset from the block's first child, 1 to 32; in unary those of the
            first child's low bits, 0 to 32; 0 in the last level.
        unary_words: words of the vector of first children in unary; 0 where they are offsets.
    """

    rows: int
    position_bits: int
    prob_bits: int = EXACT_BITS
    backoff_bits: int = EXACT_BITS
    child_bits: int
    unary_words: int = 0

    def __post_init__(self) -> None:
        widths = (self.position_bits, self.prob_bits, self.backoff_bits, self.child_bits)
        sizes = (self.rows, self.unary_words)
        if not all(0 <= size < 1 << 48 for size in sizes) or not all(
            0 <= bits <= MAX_FIELD_BITS for bits in widths
        ):
            raise ValueError(f"{self} cannot be")
        has_children = self.child_bits > 0 or self.unary_words > 0
        if self.prob_bits == 0 or (self.backoff_bits > 0) != has_children:
            raise ValueError(f"{self}: a probability, and backoff and children or neither")

    @property
    def row_bits(self) -> int:
        """Width of a whole row."""
        return self.position_bits + self.prob_bits + self.backoff_bits + self.child_bits

    @property
    def words(self) -> int:
        """Words of 64 bits that the level takes, whole groups of 64 rows and the vector."""
        return self.row_words + self.unary_words

    @property
    def row_words(self) -> int:
        """Words of 64 bits that the rows take."""
        return -(-self.rows // GROUP_ROWS) * self.row_bits

    @property
    def block_rows(self) -> int:
        """Rows that an entry in `blocks` is for."""
        return UNARY_BLOCK_ROWS if self.unary_words else BLOCK_ROWS

    @property
    def blocks(self) -> int:
        """Entries in `blocks`: one a block and one to close the last, or none in level n."""
        return -(-self.rows // self.block_rows) + 1 if self.backoff_bits else 0

    @property
    def codes(self) -> int:
        """Values in the codebooks of this level."""
        widths = (self.prob_bits, self.backoff_bits)
        return sum(1 << bits for bits in widths if 0 < bits < EXACT_BITS)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where levels 2 .. n lie in the shared columns.

    Attributes:
        levels: of levels 2 .. n, in this order; empty for order 1.
    """

    levels: tuple[LevelLayout, ...]

    @property
    def total_words(self) -> int:
        """Length of `bits`: all levels, and a word of zeros so that two can always be loaded."""
        return sum(level.words for level in self.levels) + 1

    @property
    def total_blocks(self) -> int:
        """Length of `blocks`."""
        return sum(level.blocks for level in self.levels)

    @property
    def total_codes(self) -> int:
        """Length of `codebooks`."""
        return sum(level.codes for level in self.levels)

    def start_word(self, k: int) -> int:
        """Where level k, 2 or more, begins in `bits`."""
        return sum(level.words for level in self.levels[: k - 2])

    def start_unary(self, k: int) -> int:
        """Where the vector of level k, 2 or more, begins in `bits`."""
        return self.start_word(k) + self.levels[k - 2].row_words

    def start_block(self, k: int) -> int:
        """Where level k, 2 or more, begins in `blocks`."""
        return sum(level.blocks for level in self.levels[: k - 2])

    def start_code(self, k: int) -> int:
        """Where the codebooks of level k, 2 or more, begin: log10_prob, then log10_backoff."""
        return sum(level.codes for level in self.levels[: k - 2])

    def descriptor(self) -> npt.NDArray[np.int64]:
        """All of this as the kernels read it: int64 [n - 1, DESCRIPTOR_COLUMNS], row k - 2."""
        table = np.zeros((len(self.levels), DESCRIPTOR_COLUMNS), np.int64)
        for i, level in enumerate(self.levels):
            k = i + 2
            quantized = 0 < level.prob_bits < EXACT_BITS
            table[i] = (
                level.rows,
                self.start_word(k) * 64,
                level.row_bits,
                level.position_bits,
                level.prob_bits,
                level.backoff_bits,
                level.child_bits,
                self.start_block(k),
                self.start_code(k),
                self.start_code(k) + (1 << level.prob_bits if quantized else 0),
                self.start_unary(k),
                level.unary_words,
            )
        return table


def default_child_bits(rows: int, children: int) -> int:
    """A width that the offsets of nearly every block of 32 rows fit into.

    Four times what a block has on average: the few with more are stored wide.

    Args:
        rows: of a level below the last.
        children: rows of the level above it.
    """
    average = -(-BLOCK_ROWS * children // max(rows, 1))
    return min(average.bit_length() + 2, MAX_FIELD_BITS)


def position_bits(longest_list: int) -> int:
    """The width of positions in lists of at most `longest_list` children."""
    return max(longest_list - 1, 0).bit_length()
