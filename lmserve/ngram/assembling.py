"""Assembling: the buckets of n-grams by first word -> the tables of a model.

The tables are laid out before there is anything in them, and each bucket is packed and written to
its place. A place is a whole number of groups of 64 rows, which are whole words; the few rows
before and after these, in groups that a bucket shares with its neighbours, are put together in the
end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lmserve.ngram.columns import AsideColumn, Column, allocate, open_column
from lmserve.ngram.layout import BLOCK_ROWS, GROUP_ROWS, Layout, LevelLayout
from lmserve.ngram.manifest import (
    BLOCKS_FILE,
    CODEBOOKS_FILE,
    NGRAMS_FILE,
    UNIGRAMS_FILE,
    WIDE_FILE,
)
from lmserve.ngram.ordering import Rows
from lmserve.ngram.packing import Uint64s, block_bases, pack_rows, place_wide
from lmserve.ngram.shared import SharedContext
from lmserve.ngram.tables import (
    Array,
    Schema,
    as_numpy,
    open_table,
    write_table,
)
from lmserve.text.word_table import Ids

_EDGE_SCHEMA = {
    "level": pa.uint32(),
    "row": pa.uint64(),
    "position": pa.uint32(),
    "prob": pa.uint32(),
    "backoff": pa.uint32(),
    "first_child": pa.uint64(),
}
_UNIGRAM_SCHEMA = {"log10_backoff": pa.float32(), "first_child": pa.uint64()}
_WIDE_SCHEMA = {"level": pa.uint32(), "first_child": pa.uint64()}
_EDGES, _WIDE = "edges.arrow", "wide.arrow"
_BITS_ASIDE, _BLOCKS_ASIDE = "bits.aside", "blocks.aside"


def allocate_tables(folder: Path, layout: Layout) -> None:
    """Lays out the tables that buckets are written to."""
    allocate(folder / NGRAMS_FILE, "bits", layout.total_words)
    allocate(folder / BLOCKS_FILE, "first_child", layout.total_blocks)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Where the rows of buckets go.

    Attributes:
        bits: of all rows.
        blocks: of their children.
    """

    bits: Column | AsideColumn
    blocks: Column | AsideColumn


def table_columns(model: Path) -> TableColumns:
    """The laid-out tables in a model's folder."""
    return TableColumns(open_column(model / NGRAMS_FILE), open_column(model / BLOCKS_FILE))


def columns_aside(folder: Path) -> TableColumns:
    """In place of tables that are on another machine: what is written lies in a bucket's folder."""
    return TableColumns(AsideColumn(folder / _BITS_ASIDE), AsideColumn(folder / _BLOCKS_ASIDE))


def put_in_place(folder: Path, model: Path) -> None:
    """Moves what `columns_aside` kept in a bucket's folder into a model's laid-out tables."""
    tables = table_columns(model)
    for name, column in ((_BITS_ASIDE, tables.bits), (_BLOCKS_ASIDE, tables.blocks)):
        for index, values in AsideColumn(folder / name).read():
            column.write(index, values)
        (folder / name).unlink(missing_ok=True)


def write_bucket(
    levels: Sequence[Rows],
    first_rows: Sequence[int],
    layout: Layout,
    tables: TableColumns,
    folder: Path,
) -> None:
    """Packs the rows of a bucket into the model's tables.

    Args:
        levels: 1 .. n.
        first_rows: where the bucket begins in levels 1 .. n, and 0.
        layout: of the model.
        tables: where the rows go.
        folder: an existing folder for what is left over.
    """
    bits, blocks = tables.bits, tables.blocks
    unigrams = levels[0]
    children = first_rows[1] if len(first_rows) > 1 else 0
    write_table(
        folder / "unigrams.arrow",
        {
            "log10_backoff": unigrams.backoffs.view(np.float32),
            "first_child": unigrams.first_child[:-1] + np.uint64(children),
        },
    )
    all_edges: list[dict[str, Array]] = []
    all_wide: list[dict[str, Array]] = []
    for k, (rows, level) in enumerate(zip(levels[1:], layout.levels, strict=True), 2):
        first = first_rows[k - 1]
        n = len(rows.entries)
        begin, stop = _whole_groups(first, first + n)
        whole_begin, whole_end = begin - first, stop - first
        inner = level.child_bits > 0
        first_child = (
            rows.first_child + np.uint64(first_rows[k]) if inner else np.zeros(n + 1, np.uint64)
        )
        whole = slice(whole_begin, whole_end)
        packed, bases, wide = _pack(
            level,
            rows.positions[whole],
            rows.probs[whole],
            rows.backoffs[whole],
            first_child[whole_begin : whole_end + 1],
        )
        bits.write(layout.start_word(k) + begin // GROUP_ROWS * level.row_bits, packed)
        if inner:
            blocks.write(layout.start_block(k) + begin // BLOCK_ROWS, bases)
            all_wide.append({"level": np.full(len(wide), k, np.uint32), "first_child": wide})
        edges = np.r_[0:whole_begin, whole_end:n]
        all_edges.append(
            {
                "level": np.full(len(edges), k, np.uint32),
                "row": (edges + first).astype(np.uint64),
                "position": rows.positions[edges],
                "prob": rows.probs[edges],
                "backoff": rows.backoffs[edges] if inner else np.zeros(len(edges), np.uint32),
                "first_child": first_child[edges],
            }
        )
    write_table(folder / _EDGES, _joined(all_edges, _EDGE_SCHEMA))
    write_table(folder / _WIDE, _joined(all_wide, _WIDE_SCHEMA))


def _pack(
    level: LevelLayout, positions: Ids, probs: Ids, backoffs: Ids, first_child: Uint64s
) -> tuple[Uint64s, Uint64s, Uint64s]:
    """Rows that begin a group, as `pack_rows` packs them; and the bases and wide blocks."""
    bases, offsets, wide = block_bases(first_child, max(level.child_bits, 1))
    packed = np.empty(-(-len(positions) // GROUP_ROWS) * level.row_bits, np.uint64)
    pack_rows(
        packed,
        0,
        level.position_bits,
        level.prob_bits,
        level.backoff_bits,
        level.child_bits,
        positions,
        probs,
        backoffs,
        offsets,
    )
    return packed, bases, wide


def _joined(tables: Sequence[Mapping[str, Array | pa.Array]], schema: Schema) -> dict[str, Array]:
    """Tables one after the other, empty ones of the schema's types before them."""
    joined = {}
    for name, kind in schema.items():
        columns = [table[name] for table in tables]
        arrays = [as_numpy(one) if isinstance(one, pa.Array) else one for one in columns]
        joined[name] = np.concatenate([np.empty(0, kind.to_pandas_dtype()), *arrays])
    return joined


def _whole_groups(first: int, end: int) -> tuple[int, int]:
    """The part of a range of rows that is whole groups: its first row, and the row after it."""
    begin = min(first + -first % GROUP_ROWS, end)
    return begin, begin + (end - begin) // GROUP_ROWS * GROUP_ROWS


def finish_tables(
    folders: Sequence[Path],
    first_rows: npt.NDArray[np.int64],
    layout: Layout,
    unigrams: SharedContext,
    model: Path,
) -> None:
    """Puts together what buckets share, and writes the tables that are small.

    Args:
        folders: what `write_bucket` left, by rising words.
        first_rows: int64 [buckets + 1, n], where each bucket begins in levels 1 .. n.
        layout: of the model.
        unigrams: the empty context.
        model: the model's folder.
    """
    bits, blocks = open_column(model / NGRAMS_FILE), open_column(model / BLOCKS_FILE)
    all_wide: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    wide_before = 0
    edges = _joined([open_table(folder / _EDGES, _EDGE_SCHEMA) for folder in folders], _EDGE_SCHEMA)
    wide_of = [
        _joined([open_table(folder / _WIDE, _WIDE_SCHEMA)], _WIDE_SCHEMA) for folder in folders
    ]
    for k, level in enumerate(layout.levels, 2):
        columns = {name: column[edges["level"] == k] for name, column in edges.items()}
        inner = level.child_bits > 0
        # Wide blocks are numbered by rising rows: those of buckets, and between them the edges'.
        parts: list[tuple[int, npt.NDArray[np.uint64], npt.NDArray[np.uint64]]] = []
        groups = columns["row"] // np.uint64(GROUP_ROWS)
        for group in np.unique(groups):
            rows = slice(*np.searchsorted(groups, [group, group + np.uint64(1)]))
            end = np.uint64(first_rows[-1, k] if inner else 0)
            first_child = np.append(columns["first_child"][rows], end)
            packed, bases, wide = _pack(
                level,
                columns["position"][rows],
                columns["prob"][rows],
                columns["backoff"][rows],
                first_child,
            )
            bits.write(layout.start_word(k) + int(group) * level.row_bits, packed)
            parts.append((int(group) * GROUP_ROWS, wide, bases))
        if not inner:
            continue
        for table, first, end in zip(
            wide_of, first_rows[:-1, k - 1].tolist(), first_rows[1:, k - 1].tolist(), strict=True
        ):
            begin, stop = _whole_groups(first, end)
            wide = table["first_child"][table["level"] == k]
            index = layout.start_block(k) + begin // BLOCK_ROWS
            if len(wide):
                parts.append((begin, wide, blocks.read(index, (stop - begin) // BLOCK_ROWS)))
        for begin, wide, bases in sorted(parts, key=lambda part: part[0]):
            blocks.write(
                layout.start_block(k) + begin // BLOCK_ROWS, place_wide(bases, wide_before)
            )
            all_wide.append(wide)
            wide_before += len(wide)
        closing = layout.start_block(k) + level.blocks - 1
        blocks.write(closing, first_rows[-1:, k].astype(np.uint64))
    write_table(model / WIDE_FILE, {"first_child": np.concatenate(all_wide)})
    write_table(model / CODEBOOKS_FILE, {"log10": np.empty(0, np.float32)})
    _write_unigrams(folders, unigrams, model)


def _write_unigrams(folders: Sequence[Path], unigrams: SharedContext, model: Path) -> None:
    parts = [open_table(folder / "unigrams.arrow", _UNIGRAM_SCHEMA) for folder in folders]
    size = len(unigrams.words)
    backoff = [as_numpy(part["log10_backoff"]) for part in parts]
    children = [as_numpy(part["first_child"]) for part in parts]
    write_table(
        model / UNIGRAMS_FILE,
        {
            "log10_prob": unigrams.estimates.log10_prob,
            "log10_backoff": np.concatenate(backoff) if parts else np.zeros(size, np.float32),
            "first_child": np.concatenate(children) if parts else np.zeros(size, np.uint64),
        },
    )
