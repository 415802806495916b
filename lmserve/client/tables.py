"""Tables of texts, sent and answered as Arrow's IPC stream."""

from collections.abc import Iterator
from typing import TypedDict

import orjson
import pyarrow as pa

from lmserve.client.calls import Call, ProblemError, Reply, with_query
from lmserve.client.one_model import Scored
from lmserve.errors import OptionError

SCORES = pa.schema(
    [
        ("log10_prob", pa.float64()),
        ("perplexity", pa.float64()),
        ("tokens", pa.int64()),
        ("oov", pa.int64()),
    ]
)

_MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_COLUMN = "text"
# A request may have as many bytes, below what a service accepts unless it is told otherwise.
_MAX_BYTES = 8 << 20


class TableOptions(TypedDict, total=False):
    """How a table's texts are scored.

    Attributes:
        column: that has the texts, strings or bytes; "text".
        batch: rows a request; 16,384.
        model: name of the model; without one, the service's first.
        bos: condition the first word on the start of a sentence.
        eos: add the probability of the sentence's end.
    """

    column: str
    batch: int
    model: str | None
    bos: bool
    eos: bool


def score_tables(table: pa.Table, options: TableOptions) -> Iterator[Call[Scored[pa.RecordBatch]]]:
    """The requests for a table, fewer rows each where texts are long.

    Raises:
        OptionError: the table has no such column, or `batch` is below 1.
    """
    column, batch = options.get("column", "text"), options.get("batch", 16_384)
    query = {name: options.get(name) for name in ("model", "bos", "eos")}
    path = with_query("/v1/score/stream", query)
    if batch < 1:
        raise OptionError(f"batch is {batch}", "Give a number of rows of at least 1.")
    if table.column_names.count(column) != 1:
        raise OptionError(
            f"the table's columns are {table.column_names}, not one {column!r}", "Name another."
        )
    texts = pa.table({_COLUMN: table[column]})
    first = 1
    for part in texts.to_batches(max_chunksize=batch):
        rows = min(batch, max(1, part.num_rows * _MAX_BYTES // max(1, part.nbytes)))
        for start in range(0, part.num_rows, rows):
            block = part.slice(start, rows)
            yield _call(block, first, path)
            first += block.num_rows


def _call(block: pa.RecordBatch, first: int, path: str) -> Call[Scored[pa.RecordBatch]]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, block.schema) as writer:
        writer.write_batch(block)

    def read(reply: Reply) -> Scored[pa.RecordBatch]:
        answers = _read_batches(reply.body)
        rows = sum(answer.num_rows for answer in answers)
        if rows != block.num_rows:
            raise ValueError(f"{rows} answers to {block.num_rows} rows")
        digest = reply.headers.get("X-Model-Digest", "")
        return Scored(digest=digest, scores=answers)

    return Call(
        method="POST",
        path=path,
        read=read,
        body=sink.getvalue().to_pybytes(),
        content_type=_MEDIA_TYPE,
        subject=f"rows {first} to {first + block.num_rows - 1}",
    )


def _read_batches(body: bytes) -> list[pa.RecordBatch]:
    """The batches of an answer; raises `ValueError` if it is none, or ends with a problem."""
    batches = []
    try:
        with pa.ipc.open_stream(body) as reader:
            if reader.schema != SCORES:
                raise ValueError(f"expected the columns {SCORES.names}, not {reader.schema.names}")
            while True:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
                if metadata is not None and b"error" in metadata:
                    raise ProblemError(orjson.loads(metadata[b"error"]))
                batches.append(batch)
    except StopIteration:
        return batches
    except OSError as error:
        raise ValueError(str(error)) from error
