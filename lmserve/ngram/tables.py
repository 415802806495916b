"""Arrow IPC files: written whole or not at all, read by mapping them into memory."""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lmserve.errors import CorruptModelError
from lmserve.ngram.spares import Spares

Array = npt.NDArray[Any]
_READ_BYTES = 1 << 20
# Ends the names of what is not complete yet.
PARTIAL = ".partial"
# Columns may have 2^31 values and more.
LARGE_BATCHES = pa.ipc.IpcWriteOptions(allow_64bit=True)
# Names and types of a table's columns.
Schema = Mapping[str, pa.DataType]


def write_table(path: Path, columns: Mapping[str, Array | pa.Array]) -> None:
    """Writes equally long columns as an Arrow IPC file of one batch, by an atomic rename."""
    arrays = [
        column if isinstance(column, pa.Array) else number_column(column)
        for column in columns.values()
    ]
    write_batches(path, [pa.RecordBatch.from_arrays(arrays, names=list(columns))])


def partial_name(path: Path) -> Path:
    """A name beside `path` that nobody else uses, for what is not complete yet."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")


@contextmanager
def batch_writer(
    path: Path, schema: pa.Schema, spares: Spares | None = None
) -> Iterator[pa.RecordBatchFileWriter]:
    """Writes an Arrow IPC file while a `with` block runs, and gives it its name in the end.

    A reader finds the whole file or none, and writing it again changes nothing: that is what
    makes every stage safe to repeat after a crash.

    Args:
        path: of the file.
        schema: of its batches.
        spares: where to look for a file to write over.
    """
    partial = partial_name(path)
    over = spares is not None and spares.take(partial)
    with pa.PythonFile(partial.open("r+b" if over else "wb"), "w") as sink:
        with pa.ipc.new_file(sink, schema, options=LARGE_BATCHES) as writer:
            yield writer
        size_bytes = sink.tell()
    os.truncate(partial, size_bytes)
    partial.rename(path)


def write_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Writes one or more batches of one schema as an Arrow IPC file, see `batch_writer`."""
    iterator = iter(batches)
    first = next(iterator)
    with batch_writer(path, first.schema) as writer:
        writer.write_batch(first)
        for batch in iterator:
            writer.write_batch(batch)


def open_batches(path: Path) -> pa.RecordBatchFileReader:
    """Maps an Arrow IPC file into memory.

    Raises:
        CorruptModelError: the file is missing, cut short, or no Arrow file.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path), "r"))
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error


def damaged(path: Path, reason: object) -> CorruptModelError:
    """The error for a file that is missing or not what was written."""
    return CorruptModelError(
        f"{path} is missing or damaged: {reason}", "Build the model again, or copy it again."
    )


def open_table(path: Path, schema: Schema) -> dict[str, pa.Array]:
    """Maps a file of one batch; its columns by name, not copied.

    Args:
        path: the file.
        schema: the columns that it must have, by name, with their types.

    Raises:
        CorruptModelError: the file is missing, cut short, or has another schema.
    """
    reader = open_batches(path)
    found = [(field.name, field.type) for field in reader.schema]
    if found != list(schema.items()) or reader.num_record_batches != 1:
        raise CorruptModelError(
            f"{path} holds {reader.num_record_batches} batches of {found}, "
            f"expected 1 of {list(schema.items())}",
            "The file is not part of this model: build the model again, or copy it again.",
        )
    try:
        batch = reader.get_batch(0)
        batch.validate()
    except (OSError, pa.ArrowException) as error:
        raise CorruptModelError(
            f"{path} is damaged: {error}", "Build the model again, or copy it again."
        ) from error
    return {name: batch.column(i) for i, name in enumerate(schema)}


def read_numbers(path: Path, name: str) -> Iterator[bytes]:
    """Yields the bytes of a number column piece by piece.

    They are read, not mapped: what is mapped counts as memory of the process as soon as it is seen.
    """
    with pa.memory_map(str(path), "r") as mapped:
        start = mapped.read_buffer(1).address
        column = pa.ipc.open_file(mapped).get_batch(0).column(name)
        begin = column.buffers()[1].address - start
        left = len(column) * column.type.bit_width // 8
    if left == 0:
        return
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        while left > 0:
            data = file.read(min(left, _READ_BYTES))
            if not data:
                raise CorruptModelError(f"{path} was cut short", "Copy it again.")
            left -= len(data)
            yield data


def as_numpy(column: pa.Array) -> Array:
    """A number column as a read-only array over the same memory."""
    if column.null_count:
        raise ValueError(f"a column of {column.null_count} nulls is no array")
    kind = np.dtype(column.type.to_pandas_dtype())
    if len(column) == 0:
        return np.empty(0, kind)
    # `to_numpy` would import pandas where that is installed, for a fifth of a second.
    found = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)
    found.flags.writeable = False
    return found


def number_column(array: Array) -> pa.Array:
    """An array, one-dimensional, as a column over the same memory, where it lies in one piece.

    `pa.array` would import pandas where that is installed, as `to_numpy` does.
    """
    content = pa.py_buffer(np.ascontiguousarray(array))
    return pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, content])


def binary_parts(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets, int64 [N + 1], and bytes of a `large_binary` column, over the same memory."""
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    content.flags.writeable = False
    return starts, content


def text_parts(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Bytes and offsets, int64 [N + 1], of a column of strings or binary values, not copied."""
    large = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    _, offsets, data = column.buffers()
    if len(column) == 0:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    every = np.frombuffer(offsets, np.int64 if large else np.int32)
    starts = every[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), starts


def binary_column(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pa.Array:
    """A `large_binary` column over the given offsets, int64 [N + 1], and bytes."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
