"""Input files, cut at line ends into pieces that can be read independently of each other.

A plain file is cut into byte ranges; a piece owns the lines that *start* inside its range, so that
any reader finds its lines without asking another. A compressed file is one piece, and so is what
can be read only once, from its beginning to its end: standard input, a FIFO, a device.
"""

import bz2
import glob
import gzip
import lzma
import os
import select
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from lmserve.errors import InputError, RefusedTextError

BLOCK_BYTES = 8 << 20
STDIN = "-"
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error, pa.ArrowException)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of an input file that one worker reads.

    Attributes:
        index: position in the input; pieces in this order hold the input's lines in order.
        path: the file.
        start: first byte of the range.
        end: byte after the range; the file's size for a compressed file, 0 for a pipe.
    """

    index: int
    path: str
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Bytes on disk that this piece covers."""
        return self.end - self.start

    @property
    def streamed(self) -> bool:
        """Whether it can only be read from its beginning to its end."""
        return self.path.endswith(COMPRESSED_SUFFIXES) or _is_pipe(self.path)


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines of a piece.

    Attributes:
        data: bytes; ends with a line end except at the end of the file.
        first_line: number of lines of the *piece* before this block.
    """

    data: bytes
    first_line: int

    def lines(self) -> list[bytes]:
        """The lines without their ends."""
        return self.data.removesuffix(b"\n").split(b"\n")


def find_files(inputs: Iterable[str]) -> list[Path]:
    """Resolves files and glob patterns, keeping the given order (matches of a glob sorted).

    `-` stands for standard input. FIFOs and devices, such as `/dev/stdin` and a shell's `<(...)`,
    keep their names.

    Raises:
        InputError: nothing matches, or a name is a folder.
    """
    files: list[Path] = []
    for name in inputs:
        if name == STDIN:
            files.append(Path(STDIN))
            continue
        matches = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        if not matches:
            raise InputError(
                f"no such input file: {name!r} (looked in {Path.cwd()})",
                "Check the spelling and the current folder; quote patterns such as 'text/*.gz'.",
            )
        for match in matches:
            if os.path.isdir(match):
                raise InputError(
                    f"{match!r} is a folder, not a text file",
                    f"Name the files in it, for example '{match.rstrip('/')}/*.txt'.",
                )
            # A pipe's link resolves to what is no path: /proc/1/fd/pipe:[2].
            file = Path(match).resolve()
            files.append(file if file.is_file() else Path(os.path.abspath(match)))
    return files


def require_regular(files: Iterable[Path]) -> None:
    """Refuses what cannot be read again or by another process: pipes, FIFOs and devices.

    Raises:
        InputError: one of the files is none that other processes find on disk.
    """
    for path in files:
        if not path.resolve().is_file():
            raise InputError(
                f"{str(path)!r} is a pipe or a device, which can be read only once and only by the "
                "process that was given it",
                "Give its text on standard input, of which a copy is kept: "
                "... | lmserve build - --output MODEL.",
            )


def split(files: Iterable[Path], piece_bytes: int) -> list[Piece]:
    """Cuts files into pieces of at most `piece_bytes` bytes; what is streamed stays whole.

    Raises:
        InputError: all files together hold no byte.
    """
    pieces: list[Piece] = []
    names = [str(path) for path in files]
    for name in names:
        pipe = _is_pipe(name)
        size = 0 if pipe else Path(name).stat().st_size
        if pipe or (size and name.endswith(COMPRESSED_SUFFIXES)):
            pieces.append(Piece(index=len(pieces), path=name, start=0, end=size))
            continue
        for start in range(0, size, piece_bytes):
            end = min(start + piece_bytes, size)
            pieces.append(Piece(index=len(pieces), path=name, start=start, end=end))
    if not pieces:
        raise InputError(
            f"the input is empty: {', '.join(names)}", "Give text with one sentence a line."
        )
    return pieces


def read_blocks(piece: Piece, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yields the piece's lines in blocks of about `block_bytes` (more if one line is longer).

    Raises:
        InputError: the file cannot be read, is damaged, or holds a zero byte (not text).
    """
    first_line = 0
    for data in _complete_lines(_read(piece, block_bytes)):
        zero = data.find(b"\0")
        if zero >= 0:
            line = line_number(piece, first_line + data.count(b"\n", 0, zero))
            raise RefusedTextError(
                f"{piece.path}, line {line}: a zero byte; this is a binary file, or text in "
                "UTF-16 or UTF-32",
                "Give UTF-8 text (for example: iconv -f UTF-16 -t UTF-8 FILE).",
            )
        yield Block(data, first_line)
        first_line += data.count(b"\n")


def line_number(piece: Piece, lines_before: int) -> int:
    """The 1-based number in its file of the line after the first `lines_before` of a piece."""
    if piece.start == 0:
        return lines_before + 1
    # The line that runs across the start belongs to the piece before.
    head_bytes = piece.start - 1
    with open(piece.path, "rb") as file:
        blocks = iter(lambda: file.read(min(BLOCK_BYTES, head_bytes - file.tell())), b"")
        file_lines = sum(block.count(b"\n") for block in blocks) + 1
    return file_lines + lines_before + 1


def special_token_error(piece: Piece, block: Block, offset: int) -> RefusedTextError:
    """The error for a special token at byte `offset` of a block: names file, line and remedy."""
    line = line_number(piece, block.first_line + block.data.count(b"\n", 0, offset))
    mark = block.data[offset : offset + 8].split(maxsplit=1)[0].decode()
    keep = "; to count <unk> as an ordinary word: --special-tokens keep-unk"
    return RefusedTextError(
        f"{piece.path}, line {line}: the text holds {mark}, which the model uses as a mark of "
        "its own",
        f"To drop such tokens: --special-tokens space{keep if mark == '<unk>' else ''}.",
    )


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading, decompressing by its suffix (.gz, .bz2, .xz, .zst)."""
    # Pipes unbuffered: they then give what is there, without waiting for more.
    if path == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed", "Pipe text into it, or name a file.")
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    if path.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.endswith(".bz2"):
        return cast(BinaryIO, bz2.open(path, "rb"))
    if path.endswith(".xz"):
        return cast(BinaryIO, lzma.open(path, "rb"))
    if path.endswith(".zst"):
        return cast(BinaryIO, pa.CompressedInputStream(pa.OSFile(path, "rb"), "zstd"))
    return open(path, "rb", buffering=0) if _is_pipe(path) else open(path, "rb")


def _is_pipe(path: str) -> bool:
    """Whether it can be read only once: standard input, a FIFO, a device."""
    return path == STDIN or (os.path.exists(path) and not os.path.isfile(path))


def _read(piece: Piece, block_bytes: int) -> Iterator[bytes]:
    """Yields the bytes of the lines that start inside the piece, cut anywhere."""
    try:
        with open_binary(piece.path) as file:
            read = _read_stream if piece.streamed else _read_range
            yield from read(file, piece, block_bytes)
    except _DAMAGED as error:
        compressed = piece.path.endswith(COMPRESSED_SUFFIXES)
        kind = "damaged, or not what its suffix says" if compressed else "unreadable"
        raise InputError(
            f"cannot read {piece.path}: {kind} ({error})",
            "Check the file (gzip -t, xz -t, zstd -t) and its permissions, or copy it again.",
        ) from error


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
