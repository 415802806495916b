"""A column of numbers on disk that several processes fill, each at places of its own."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lmserve.ngram.packing import Uint64s
from lmserve.ngram.tables import LARGE_BATCHES, number_column, partial_name

_WORD_BYTES = 8
# Larger than anything in an Arrow file of one column but its values.
_LARGE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Column:
    """A uint64 column in an Arrow file, whose values begin at byte `offset`."""

    path: Path
    offset: int

    def write(self, index: int, values: Uint64s) -> None:
        """Puts values at an index."""
        at, left = self.offset + index * _WORD_BYTES, values.view(np.uint8).data
        with self.path.open("r+b") as file:
            while len(left) > 0:
                # The system writes no more than 2 GB at a time.
                n = os.pwrite(file.fileno(), left, at)
                at, left = at + n, left[n:]

    def read(self, index: int, length: int) -> Uint64s:
        """The values from an index on."""
        return np.fromfile(self.path, np.uint64, length, offset=self.offset + index * _WORD_BYTES)


@dataclass(frozen=True, slots=True)
class AsideColumn:
    """Keeps what is to be written to a column on another machine: index, length, values, ..."""

    path: Path

    def write(self, index: int, values: Uint64s) -> None:
        """Keeps values for an index."""
        with self.path.open("ab") as file:
            file.write(np.array([index, len(values)], np.uint64).data)
            file.write(values.data)

    def read(self) -> Iterator[tuple[int, Uint64s]]:
        """What was kept: an index, and the values for it."""
        if not self.path.exists():
            return
        kept = np.memmap(self.path, np.uint64, "r")
        at = 0
        while at < len(kept):
            index, length = kept[at : at + 2].tolist()
            yield index, kept[at + 2 : at + 2 + length]
            at += 2 + length


class _Sparse:
    """A file that leaves a hole where it is given the buffer of one, large, length."""

    def __init__(self, path: Path, hole_bytes: int) -> None:
        self._file = path.open("wb")
        self._hole_bytes = hole_bytes
        self.closed = False

    def write(self, data: pa.Buffer) -> int:
        if len(data) == self._hole_bytes:
            self._file.seek(len(data), os.SEEK_CUR)
        else:
            self._file.write(data)
        return len(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
        self.closed = True


def allocate(path: Path, name: str, rows: int) -> None:
    """Writes an Arrow IPC file of one column of `rows` zeros, uint64, that takes no space yet."""
    partial = partial_name(path)
    is_hole = rows * _WORD_BYTES >= _LARGE_BYTES
    # What is left out of the file need not be zeros in memory either.
    values = np.empty(rows, np.uint64) if is_hole else np.zeros(rows, np.uint64)
    batch = pa.RecordBatch.from_arrays([number_column(values)], [name])
    sink = _Sparse(partial, max(rows * _WORD_BYTES, _LARGE_BYTES))
    with (
        pa.PythonFile(sink, "w") as file,
        pa.ipc.new_file(file, batch.schema, options=LARGE_BATCHES) as writer,
    ):
        writer.write_batch(batch)
    partial.rename(path)


def open_column(path: Path) -> Column:
    """The column of a file that `allocate` made."""
    with pa.memory_map(str(path), "r") as mapped:
        start = mapped.read_buffer(1).address
        batch = pa.ipc.open_file(mapped).get_batch(0)
        return Column(path, batch.column(0).buffers()[1].address - start)
