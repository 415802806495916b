"""Input files, cut into pieces that can be read independently of each other.

A file of lines is cut into byte ranges; a piece owns the lines that *start* inside its range, so
that any reader finds its lines without asking another. A Parquet file is cut into row groups. A
compressed file is one piece, and so is what can be read only once, from its beginning to its end:
standard input, a FIFO, a device.

This is the only module of the input that the rest of lmserve needs.
"""

import lzma
import os
import select
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow as pa

from lmserve.errors import InputError, LmserveError, RefusedTextError
from lmserve.text.documents import (
    RecordError,
    parquet_blocks,
    parse_json_lines,
    row_group_pieces,
    rows_before,
)
from lmserve.text.finding import find_files, require_regular
from lmserve.text.pieces import DEFAULT_COLUMN, Block, Format, Piece, document_block
from lmserve.text.storage import (
    COMPRESSED_SUFFIXES,
    STDIN,
    file_stat,
    is_pipe,
    is_url,
    open_binary,
    plain_path,
    shown,
    unreadable,
)

__all__ = [
    "BLOCK_BYTES",
    "DEFAULT_COLUMN",
    "STDIN",
    "Block",
    "Piece",
    "file_stat",
    "find_files",
    "line_number",
    "open_binary",
    "read_blocks",
    "require_regular",
    "shown",
    "special_token_error",
    "split",
]

BLOCK_BYTES = 8 << 20
_DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error, pa.ArrowException)


def split(
    files: Iterable[str | os.PathLike[str]], piece_bytes: int, column: str = DEFAULT_COLUMN
) -> list[Piece]:
    """Cuts files into pieces of at most `piece_bytes` bytes; what is streamed stays whole.

    Args:
        files: from `find_files`.
        piece_bytes: of Parquet, bytes of uncompressed text.
        column: of JSON and Parquet, the field that holds the text.

    Raises:
        InputError: all files together hold no byte, or one of them cannot be read.
    """
    names = [os.fspath(file) for file in files]
    ranges = [(name, *part) for name in names for part in _parts(name, piece_bytes, column)]
    if not ranges:
        raise InputError(
            f"the input is empty: {', '.join(map(shown, names))}",
            "Give text with one sentence a line.",
        )
    return [
        Piece(index=index, path=name, start=start, end=end, size_bytes=size, column=column)
        for index, (name, start, end, size) in enumerate(ranges)
    ]


def _parts(name: str, piece_bytes: int, column: str) -> list[tuple[int, int, int]]:
    """Start, end and bytes of each piece of a file."""
    kind = Format.of(name)
    pipe = is_pipe(name)
    if kind is Format.PARQUET:
        if pipe:
            raise InputError(
                f"{name!r} is a pipe or a device; Parquet is read from its end",
                "Name a Parquet file on disk, or a URL.",
            )
        with _errors(name):
            return row_group_pieces(name, column, piece_bytes)
    size = 0 if pipe else file_stat(name).size_bytes
    if pipe or size is None:
        return [(0, 0, 0)]
    if size and plain_path(name).endswith(COMPRESSED_SUFFIXES):
        return [(0, size, size)]
    starts = range(0, size, piece_bytes)
    return [(start, end := min(start + piece_bytes, size), end - start) for start in starts]


def read_blocks(piece: Piece, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yields the piece's lines in blocks of about `block_bytes` (more if one line is longer).

    Raises:
        InputError: the file cannot be read, is damaged, holds a zero byte (not text) or a record
            that has no text.
    """
    for block in _blocks(piece, block_bytes):
        zero = block.data.find(b"\0")
        if zero >= 0:
            plain = piece.format is Format.LINES
            raise RefusedTextError(
                f"{_place(piece, block.record_at(zero))}: a zero byte"
                + ("; this is a binary file, or text in UTF-16 or UTF-32" if plain else ""),
                "Give UTF-8 text (for example: iconv -f UTF-16 -t UTF-8 FILE)."
                if plain
                else "Remove the character U+0000 from the text.",
            )
        yield block


def _blocks(piece: Piece, block_bytes: int) -> Iterator[Block]:
    first = 0
    try:
        if piece.format is Format.PARQUET:
            with _errors(piece.path):
                yield from parquet_blocks(piece, block_bytes)
            return
        for data in _complete_lines(_read(piece, block_bytes)):
            lines = data.count(b"\n")
            if piece.format is Format.LINES:
                yield Block(data, first)
            else:
                yield document_block(parse_json_lines(data, piece.column), first, data)
            first += lines
    except RecordError as error:
        place = _place(piece, first + error.index)
        raise RefusedTextError(f"{place}: {error.problem}", error.remedy) from error


def line_number(piece: Piece, lines_before: int) -> int:
    """The 1-based number in its file of the line after the first `lines_before` of a piece.

    Of a Parquet file, it is the number of the row.
    """
    if piece.format is Format.PARQUET:
        return rows_before(piece) + lines_before + 1
    if piece.start == 0:
        return lines_before + 1
    # The line that runs across the start belongs to the piece before.
    head_bytes = piece.start - 1
    with open_binary(piece.path) as file:
        blocks = iter(lambda: file.read(min(BLOCK_BYTES, head_bytes - file.tell())), b"")
        file_lines = sum(block.count(b"\n") for block in blocks) + 1
    return file_lines + lines_before + 1


def _place(piece: Piece, records_before: int) -> str:
    kind = "row" if piece.format is Format.PARQUET else "line"
    return f"{piece.name}, {kind} {line_number(piece, records_before)}"


def special_token_error(piece: Piece, block: Block, offset: int) -> RefusedTextError:
    """The error for a special token at byte `offset` of a block: names file, line and remedy."""
    mark = block.data[offset : offset + 8].split(maxsplit=1)[0].decode()
    keep = "; to count <unk> as an ordinary word: --special-tokens keep-unk"
    return RefusedTextError(
        f"{_place(piece, block.record_at(offset))}: the text holds {mark}, which the model uses as "
        "a mark of its own",
        f"To drop such tokens: --special-tokens space{keep if mark == '<unk>' else ''}.",
    )


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turns what reading a file raises into an error with a remedy."""
    try:
        yield
    except (LmserveError, RecordError):
        raise
    except _DAMAGED as error:
        if is_url(name):
            raise unreadable(name, error) from error
        packed = plain_path(name).endswith((*COMPRESSED_SUFFIXES, ".parquet"))
        kind = "damaged, or not what its suffix says" if packed else "unreadable"
        raise InputError(
            f"cannot read {name}: {kind} ({error})",
            "Check the file (gzip -t, xz -t, zstd -t) and its permissions, or copy it again.",
        ) from error
    except Exception as error:
        if not is_url(name):
            raise
        # Each remote file system has errors of its own.
        raise unreadable(name, error) from error


def _read(piece: Piece, block_bytes: int) -> Iterator[bytes]:
    """Yields the bytes of the lines that start inside the piece, cut anywhere."""
    with _errors(piece.path), open_binary(piece.path) as file:
        read = _read_stream if piece.streamed else _read_range
        yield from read(file, piece, block_bytes)


def _read_stream(file: BinaryIO, _: Piece, block_bytes: int) -> Iterator[bytes]:
    while (data := cast(bytes | None, file.read(block_bytes))) != b"":
        if data is None:
            # Somebody set the pipe to non-blocking; nothing is there yet, but it has not ended.
            select.select([file], [], [])
        else:
            yield data


def _read_range(file: BinaryIO, piece: Piece, block_bytes: int) -> Iterator[bytes]:
    position = piece.start
    if position > 0:
        file.seek(position - 1)
        position += len(file.readline()) - 1
    while position < piece.end:
        data = file.read(min(block_bytes, piece.end - position))
        if not data:
            return
        position += len(data)
        if position >= piece.end and not data.endswith(b"\n"):
            data += file.readline()
        yield data


def _complete_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Regroups bytes so that each group ends at a line end, the last one excepted."""
    pending: list[bytes] = []
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if cut == 0:
            pending.append(chunk)
            continue
        yield b"".join((*pending, chunk[:cut]))
        pending = [chunk[cut:]] if cut < len(chunk) else []
    if pending:
        yield b"".join(pending)
