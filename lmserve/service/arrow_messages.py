"""Arrow's IPC stream read from untrusted bytes as they come, message by message.

Arrow itself finds out how long a message is and verifies its description; what it asks for is
compared with the limit before anything of that size is held.
"""

import struct
from collections.abc import Iterator

import pyarrow as pa
from starlette.exceptions import HTTPException

COLUMN = "text"
_TEXT_TYPES = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
_ARROW_ERRORS = (pa.ArrowException, OSError)
# Of no message are fewer bytes asked for: a continuation mark and a length.
_HEAD_BYTES = 8
# Where two members stand in tables of Arrow's Message.fbs.
_MESSAGE_HEADER, _BATCH_COMPRESSION = 2, 3


class BatchReader:
    """Makes record batches of pieces of bytes.

    Args:
        max_message_bytes: longest message: in the main, the texts of one batch.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._held = bytearray()
        self._needed = _HEAD_BYTES
        self._ended = False
        self._schema: pa.Schema | None = None

    def feed(self, piece: bytes) -> None:
        """Takes some more of the stream; what follows its end is passed over."""
        if not self._ended:
            self._held += piece

    def read_schema(self) -> pa.Schema | None:
        """The schema, or None where it has not come yet.

        Raises:
            HTTPException: 413 for a message longer than allowed; 422 for bytes that are no IPC
                stream, or a stream of other columns.
        """
        if self._schema is None and (message := self._next_message()):
            self._schema = _read_schema(message)
        return self._schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The texts of the batches that have come, not looked into; raises as `read_schema`."""
        schema = self.read_schema()
        while schema is not None and (message := self._next_message()):
            yield _read_batch(message, schema)

    def finish(self) -> None:
        """Raises `HTTPException` 400 where the stream ended too early."""
        if self._schema is None or (self._held and not self._ended):
            raise HTTPException(400, "The Arrow stream ends too early; send all of it.")

    def _next_message(self) -> pa.ipc.Message | None:
        """The first message held; None where more is needed of it, or the stream's end was said."""
        if self._ended or len(self._held) < self._needed:
            return None
        with memoryview(self._held) as held:
            source = _Source(held, self._max_message_bytes)
            try:
                message = pa.ipc.read_message(pa.PythonFile(source, "r"))
            except _MoreNeededError as more:
                self._needed = more.args[0]
                return None
            except EOFError:  # Arrow's word for the mark of the end.
                self._ended = True
                return None
            except _ARROW_ERRORS as error:
                raise HTTPException(422, f"This is no Arrow IPC stream: {error}") from error
        del self._held[: source.position]
        self._needed = _HEAD_BYTES
        return message


class _MoreNeededError(Exception):
    """Holds how many bytes of a message are asked for, those before included."""


class _Source:
    """The held bytes as a file for Arrow, which may not ask for more than a message may have."""

    closed = False

    def __init__(self, held: memoryview, max_bytes: int) -> None:
        self._held = held
        self._max_bytes = max_bytes
        self.position = 0

    def read(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > self._max_bytes:
            raise HTTPException(
                413, f"A message is longer than {self._max_bytes} bytes; send smaller batches."
            )
        if end > len(self._held):
            raise _MoreNeededError(end)
        start, self.position = self.position, end
        return bytes(self._held[start:end])

    def close(self) -> None:
        """There is nothing to close."""


def _read_schema(message: pa.ipc.Message) -> pa.Schema:
    # Arrow reads whatever header there is as if it were a schema's.
    if message.type != "schema":
        raise HTTPException(422, f"The Arrow stream begins with a {message.type}, no schema.")
    try:
        schema = pa.ipc.read_schema(message)
        names = schema.names
    except (*_ARROW_ERRORS, UnicodeDecodeError) as error:
        raise HTTPException(422, f"The Arrow stream's schema cannot be read: {error}") from error
    if names.count(COLUMN) != 1:
        raise HTTPException(422, f"Send one column {COLUMN!r}; the columns are {names}.")
    kind = schema.field(COLUMN).type
    if kind not in _TEXT_TYPES:
        raise HTTPException(
            422, f"The column {COLUMN!r} is of type {kind}; send string, large_string or binary."
        )
    return schema


def _read_batch(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    if message.type != "record batch":
        raise HTTPException(
            422, f"A {message.type} is not read here; send columns that use no dictionary."
        )
    if _is_compressed(message.metadata.to_pybytes()):
        # Each buffer says by itself how much memory it shall become.
        raise HTTPException(
            422, "Compressed buffers are not read; send them plain, with Content-Encoding: zstd."
        )
    try:
        batch = pa.ipc.read_record_batch(message, schema).select([COLUMN])
        batch.validate()
    except _ARROW_ERRORS as error:
        raise HTTPException(422, f"The record batch cannot be read: {error}") from error
    return batch


def _is_compressed(message: bytes) -> bool:
    """Whether a record batch, whose flatbuffer Arrow has verified, has compressed buffers."""
    (root,) = struct.unpack_from("<I", message)
    at = root + _member(message, root, _MESSAGE_HEADER)
    (header,) = struct.unpack_from("<I", message, at)
    return _member(message, at + header, _BATCH_COMPRESSION) != 0


def _member(flatbuffer: bytes, table: int, member: int) -> int:
    """Where a member stands behind its table's begin, 0 where it is left out."""
    (back,) = struct.unpack_from("<i", flatbuffer, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", flatbuffer, vtable)
    slot = 4 + 2 * member
    if slot >= size:
        return 0
    (offset,) = struct.unpack_from("<H", flatbuffer, vtable + slot)
    return int(offset)
