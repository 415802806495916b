"""What a worker reads: a piece of an input file; and what it gets: blocks of lines."""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import PurePath
from typing import cast

import numpy as np
import numpy.typing as npt

from lmserve.errors import InputError
from lmserve.text.storage import COMPRESSED_SUFFIXES, plain_path, shown

DEFAULT_COLUMN = "text"


class Format(Enum):
    """How a file holds text."""

    LINES = auto()
    JSON_LINES = auto()
    PARQUET = auto()

    @classmethod
    def of(cls, name: str) -> "Format":
        """The format that a file's suffixes tell, compression aside.

        Raises:
            InputError: a Parquet file is compressed as a whole.
        """
        path = PurePath(plain_path(name))
        compressed = path.suffix in COMPRESSED_SUFFIXES
        suffix = path.with_suffix("").suffix if compressed else path.suffix
        if suffix in (".jsonl", ".ndjson"):
            return cls.JSON_LINES
        if suffix == ".parquet" and compressed:
            raise InputError(
                f"{shown(name)} is a compressed Parquet file, which cannot be read in parts",
                "Decompress it: Parquet compresses its columns itself.",
            )
        return cls.PARQUET if suffix == ".parquet" else cls.LINES


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of an input file that one worker reads.

    Attributes:
        index: position in the input; pieces in this order hold the input's lines in order.
        path: the file: an absolute path, a URL, or "-".
        start: first byte of the range; of a Parquet file, first row group.
        end: what comes after the range; the file's size for a compressed file, 0 for a pipe.
        size_bytes: bytes that this piece covers.
        column: of JSON and Parquet, the field that holds the text.
    """

    index: int
    path: str
    start: int
    end: int
    size_bytes: int
    column: str = DEFAULT_COLUMN

    @property
    def name(self) -> str:
        """The file's name, for people."""
        return shown(self.path)

    @property
    def format(self) -> Format:
        """How the file holds text."""
        return Format.of(self.path)

    @property
    def streamed(self) -> bool:
        """Whether it can only be read from its beginning to its end."""
        return plain_path(self.path).endswith(COMPRESSED_SUFFIXES) or self.end == 0


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines of a piece.

    Attributes:
        data: bytes; ends with a line end except at the end of the file.
        first_record: number of records of the *piece* before this block. A record is a line of the
            file; of a Parquet file, a row.
        line_starts: int64 [R], for records that are not lines: the line of `data` with which each
            begins.
        written: of JSON Lines, the lines of the file that these records are.
    """

    data: bytes
    first_record: int
    line_starts: npt.NDArray[np.int64] | None = None
    written: bytes | None = None

    def lines(self) -> list[bytes]:
        """The lines without their ends."""
        return self.data.removesuffix(b"\n").split(b"\n") if self.data else []

    def record_at(self, offset: int) -> int:
        """The number of records of the piece before the one with byte `offset` of the data."""
        line = self.data.count(b"\n", 0, offset)
        if self.line_starts is None:
            return self.first_record + line
        # Of several records that begin with this line, all but the last are empty.
        return self.first_record + int(np.searchsorted(self.line_starts, line, "right")) - 1


def document_block(
    texts: list[bytes | None], first_record: int, written: bytes | None = None
) -> Block:
    """The lines of documents: a document ends its last line, if it has not ended it itself.

    Args:
        texts: the text of each record; None for a record that holds none, such as a blank line.
        first_record: number of records of the piece before these.
        written: as in `Block`.
    """
    if None not in texts:
        joined = b"\n".join([*cast(list[bytes], texts), b""])
        if joined.count(b"\n") == len(texts):
            # As with one sentence a record, where time counts.
            return Block(joined, first_record, np.arange(len(texts)), written)
    parts = [b"" if t is None else t if t.endswith(b"\n") else t + b"\n" for t in texts]
    counts = np.array([part.count(b"\n") for part in parts], np.int64)
    return Block(b"".join(parts), first_record, np.cumsum(counts) - counts, written)
