"""The parts of a scored corpus: one Parquet file for each piece of the input.

    FILE-1a2b3c4d-000000000000.parquet

A part is named after its piece: the file, a checksum of its path, and the piece's beginning. What
decides its content, and what its texts come to, stand in it. So a part that is there need not be
made again, whoever made it, and no part needs to know of others.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lmserve.errors import LmserveError
from lmserve.local_folder import Folder, LocalFolder
from lmserve.text.pieces import Piece
from lmserve.text.storage import plain_path

SUMMARY_FILE = "summary.json"
_NAME = re.compile(r"[A-Za-z0-9._-]*-[0-9a-f]{8}-[0-9]{12,}\.parquet")
_FACTS, _TOTALS = b"lmserve.part", b"lmserve.totals"
_LABEL_CHARACTERS = 64


def part_name(piece: Piece) -> str:
    """The file name of a piece's part; in this order, parts of one file hold its texts in order."""
    file = PurePosixPath(plain_path(piece.path)).name
    label = re.sub(r"[^A-Za-z0-9._-]", "_", file).strip(".-")[:_LABEL_CHARACTERS]
    place = hashlib.sha256(piece.name.encode()).hexdigest()[:8]
    return f"{label}-{place}-{piece.start:012d}.parquet"


def is_part(name: str) -> bool:
    """Whether a file is called like a part."""
    return _NAME.fullmatch(name) is not None


def read_totals(folder: Folder, name: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the texts of a part come to; None where it is not there, or one of other facts.

    Args:
        folder: of the parts.
        name: of the part.
        facts: what decides its content.
    """
    if not folder.exists(name):
        return None
    try:
        with folder.open(name) as file:
            metadata = pq.read_metadata(file).metadata or {}
        same = json.loads(metadata.get(_FACTS, b"null")) == facts
        return json.loads(metadata[_TOTALS]) if same else None
    except (pa.ArrowException, OSError, ValueError, KeyError, LmserveError):
        # Whatever it is, it is made again.
        return None


@contextmanager
def part_writer(folder: Folder, name: str, schema: pa.Schema) -> Iterator["PartWriter"]:
    """Writes a part while a `with` block runs; it appears, whole, when the block ends."""
    beside = folder.root if isinstance(folder, LocalFolder) else None
    with tempfile.TemporaryDirectory(prefix=".part-", dir=beside) as scratch:
        place = Path(scratch) / name
        with pq.ParquetWriter(place, schema, compression="zstd") as writer:
            yield PartWriter(writer)
        folder.put(name, place)


class PartWriter:
    """A part that is being written."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def write(self, table: pa.Table) -> None:
        """Adds rows."""
        if table.num_rows:
            self._writer.write_table(table)

    def finish(self, facts: Mapping[str, Any], totals: Mapping[str, Any]) -> None:
        """Adds what decides the part's content, and what its texts come to; see `read_totals`."""
        self._writer.add_key_value_metadata(
            {_FACTS: json.dumps(facts), _TOTALS: json.dumps(totals)}
        )
