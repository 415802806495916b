"""Documents in JSON Lines and Parquet: one field of each record is text, of one or more lines.

A record without text (the field is missing or null) is an error: a corpus that is read in part
gives other counts than it should, and nobody would notice.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from lmserve.errors import InputError
from lmserve.text.pieces import Block, Piece, document_block
from lmserve.text.storage import is_url, open_remote, shown


class RecordError(Exception):
    """A record that holds no text.

    Args:
        index: its number among those that were passed, from 0.
        problem: what is wrong with it.
        remedy: what to do about it.
    """

    def __init__(self, index: int, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.index = index
        self.problem = problem
        self.remedy = remedy


def parse_json_lines(data: bytes, column: str) -> list[bytes | None]:
    """The text of each line; None for a blank line.

    Args:
        data: complete lines, each a JSON object.
        column: the field that holds the text.

    Raises:
        RecordError: a line is no JSON object, or has no text in this field.
    """
    texts: list[bytes | None] = []
    for index, line in enumerate(data.removesuffix(b"\n").split(b"\n")):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not line.strip():
                texts.append(None)
                continue
            raise RecordError(
                index, f"no JSON ({error})", "Give one JSON object a line, in UTF-8."
            ) from error
        text = record.get(column) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise _no_text(index, record, column)
        texts.append(text.encode())
    return texts


def _no_text(index: int, record: object, column: str) -> RecordError:
    if not isinstance(record, dict):
        kind = type(record).__name__
        return RecordError(index, f"a JSON {kind}, no object", "Give one JSON object a line.")
    if column not in record:
        return RecordError(
            index, f"no field {column!r}; its fields are {_named(record)}", _choose_column(column)
        )
    kind = "null" if record[column] is None else type(record[column]).__name__
    return RecordError(
        index,
        f"its field {column!r} is no text but {kind}",
        "Leave such records out, or name the field that holds the text: --text-column NAME.",
    )


def open_parquet(name: str, column: str) -> pq.ParquetFile:
    """Opens a Parquet file that has its text in `column`.

    Raises:
        InputError: it cannot be read, or has no such column of text.
    """
    source = open_remote(name) if is_url(name) else name
    file = pq.ParquetFile(source)
    schema = file.schema_arrow
    if schema.names.count(column) != 1:
        file.close()
        raise InputError(
            f"{shown(name)} has no column {column!r}; its columns are {_named(schema.names)}",
            _choose_column(column),
        )
    kind = schema.field(column).type
    if not _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        file.close()
        raise InputError(
            f"the column {column!r} of {shown(name)} is no text but {kind}",
            "Name the column that holds the text: --text-column NAME.",
        )
    return file


def row_group_pieces(name: str, column: str, piece_bytes: int) -> list[tuple[int, int, int]]:
    """Cuts a Parquet file into runs of row groups.

    Args:
        name: the file.
        column: holds the text.
        piece_bytes: of uncompressed text, at most, where there is more than one row group.

    Returns:
        First row group, the one after the last, and bytes of text, of each run.
    """
    with open_parquet(name, column) as file:
        if file.metadata.num_rows == 0:
            return []
        sizes = [_text_bytes(file, group, column) for group in range(file.num_row_groups)]
    pieces: list[tuple[int, int, int]] = []
    start = total = 0
    for group, size in enumerate(sizes):
        if group > start and total + size > piece_bytes:
            pieces.append((start, group, total))
            start, total = group, 0
        total += size
    if len(sizes) > start:
        pieces.append((start, len(sizes), total))
    return pieces


def parquet_blocks(piece: Piece, block_bytes: int) -> Iterator[Block]:
    """Yields the lines of a piece's documents, in blocks of about `block_bytes`.

    Raises:
        RecordError: a row has no text; its index is that in the piece.
        pyarrow.ArrowException, OSError: the file is damaged.
    """
    with open_parquet(piece.path, piece.column) as file:
        groups = range(piece.start, piece.end)
        rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        first_row = 0
        for batch in file.iter_batches(
            batch_size=max(rows * block_bytes // max(piece.size_bytes, 1), 1),
            row_groups=list(groups),
            columns=[piece.column],
        ):
            column = batch.column(0).cast(pa.large_binary())
            if column.null_count:
                index = first_row + column.is_null().index(True).as_py()
                raise RecordError(
                    index,
                    f"its field {piece.column!r} is no text but null",
                    "Leave such records out.",
                )
            yield document_block(cast(list[bytes | None], column.to_pylist()), first_row)
            first_row += len(column)


def rows_before(piece: Piece) -> int:
    """Rows of a piece's Parquet file before the piece."""
    with open_parquet(piece.path, piece.column) as file:
        return sum(file.metadata.row_group(group).num_rows for group in range(piece.start))


def _text_bytes(file: pq.ParquetFile, group: int, column: str) -> int:
    facts = file.metadata.row_group(group)
    columns = (facts.column(i) for i in range(facts.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema == column)


def _is_text(kind: Any) -> bool:
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in (*binary, *text))


def _named(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _choose_column(column: str) -> str:
    return f"Name the field that holds the text: --text-column NAME (now {column!r})."
