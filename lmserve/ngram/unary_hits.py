"""The children of many rows of a level that has them in unary, so that cache misses overlap."""

from lmserve.kernels import borrowing
from lmserve.ngram.layout import DESCRIPTOR_COLUMNS, START_BLOCK, UNARY_BLOCK_ROWS
from lmserve.ngram.packed import Int, Int64s, Tables, children, unary_base
from lmserve.prefetching import prefetch

# The ones of most blocks lie in this many words, and so in one or two cache lines.
_NEAR_WORDS = 4


@borrowing
def place_unary(
    tables: Tables, k: Int, slots: Int64s, rows: Int64s, begins: Int64s, sizes: Int64s
) -> None:
    """Writes where the children of rows begin, and how many there are.

    Args:
        tables: the model.
        k: the rows' level.
        slots: int64, which entries of the following three to take.
        rows: int64 [S].
        begins: int64 [S], written to.
        sizes: int64 [S], written to.
    """
    level = (k - 2) * DESCRIPTOR_COLUMNS
    start_block = tables.levels[level + START_BLOCK]
    for slot in slots:
        prefetch(tables.blocks, start_block + rows[slot] // UNARY_BLOCK_ROWS)
    for slot in slots:
        word = unary_base(tables, level, rows[slot]) >> 6
        prefetch(tables.bits, word)
        prefetch(tables.bits, word + _NEAR_WORDS)
    for slot in slots:
        begin, end = children(tables, k, rows[slot])
        begins[slot], sizes[slot] = begin, end - begin
