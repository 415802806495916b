"""Arrays in one Arrow IPC file, a batch each: what one stage of a build leaves to the next."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lmserve.ngram.spares import Spares
from lmserve.ngram.tables import as_numpy, batch_writer, damaged, number_column, open_batches

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
_COLUMN = "bytes"


@contextmanager
def array_writer(path: Path, spares: Spares | None = None) -> Iterator[Callable[[Array], None]]:
    """A function that writes one array after the other while a `with` block runs.

    Args:
        path: of the file, which has this name when it is complete.
        spares: where to look for a file to write over.
    """
    schema = pa.schema([(_COLUMN, pa.uint8())])
    with batch_writer(path, schema, spares) as writer:

        def write(array: Array) -> None:
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            writer.write_batch(pa.record_batch([number_column(flat)], schema=schema))

        yield write


def open_arrays(path: Path) -> list[Bytes]:
    """The bytes of each array that `array_writer` wrote, mapped into memory: uint8 [.]."""
    reader = open_batches(path)
    return [as_numpy(reader.get_batch(b).column(0)) for b in range(reader.num_record_batches)]


class ArrayFile:
    """Reads parts of arrays that `array_writer` wrote.

    They are read, not mapped: what is looked at once costs less so. The file is not kept open: some
    builds have more of them than a process may open.

    Args:
        path: the file.

    Raises:
        CorruptModelError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            state = path.stat()
            self._starts = _starts(path, state.st_ino, state.st_mtime_ns, state.st_size)
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, error) from error

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, *reads: tuple[int, int, Array]) -> None:
        """Fills arrays, opening the file once.

        Args:
            reads: for each the number of the array to read from; index in it of the first element,
                all being of the target's type; the target, contiguous, of any type.

        Raises:
            CorruptModelError: there is not so much in the file.
        """
        file = os.open(self._path, os.O_RDONLY)
        try:
            for number, first, target in reads:
                at = self._starts[number] + first * target.itemsize
                left = target.reshape(-1).view(np.uint8).data
                while len(left) > 0:
                    n = os.preadv(file, [left], at)
                    if n == 0:
                        raise damaged(self._path, "it ends too early")
                    at += n
                    left = left[n:]
        finally:
            os.close(file)


@lru_cache(maxsize=1 << 12)
def _starts(path: Path, _inode: int, _changed_ns: int, _size_bytes: int) -> tuple[int, ...]:
    """Where each array begins in a file; remembered, since to look makes the system read ahead."""
    with pa.memory_map(str(path), "r") as mapped:
        start = mapped.read_buffer(1).address
        reader = pa.ipc.open_file(mapped)
        columns = [reader.get_batch(b).column(0) for b in range(reader.num_record_batches)]
        return tuple(column.buffers()[1].address - start for column in columns)
