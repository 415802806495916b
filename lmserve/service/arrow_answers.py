"""Record batches of texts in, record batches of scores out, while the request is still arriving."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from starlette.exceptions import HTTPException

from lmserve.language_model import LanguageModel
from lmserve.ngram.model import NgramModel
from lmserve.scorer import TextScores
from lmserve.service.arrow_messages import COLUMN, BatchReader
from lmserve.service.blocks import BLOCK_BYTES, BLOCK_LINES
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.pipeline import in_order
from lmserve.service.problems import problem
from lmserve.service.scoring import ScoreOptions
from lmserve.service.settings import ServiceSettings

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
SCHEMA = pa.schema(
    [
        ("log10_prob", pa.float64()),
        ("perplexity", pa.float64()),
        ("tokens", pa.int64()),
        ("oov", pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrowAnswers:
    """Answers a stream of texts, one row each, in order.

    Attributes:
        model: scores the texts.
        metrics: told of every text, and counts rows that are none.
        settings: limits of texts and blocks; the row of a text that is too long is null, like
            that of a null.
        options: `words` is not among what these answers can say.
    """

    model: LanguageModel
    metrics: ServiceMetrics
    settings: ServiceSettings
    options: ScoreOptions

    async def stream(
        self, reader: BatchReader, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """An IPC stream of `SCHEMA`, as the texts come.

        Where `pieces` or a batch raises `HTTPException`, the last batch has no rows, and a problem
        as its custom metadata `error`.

        Args:
            reader: that has read the schema.
            pieces: what comes after it.
        """
        yield SCHEMA.serialize().to_pybytes()
        try:
            blocks = _blocks(reader, pieces)
            results = in_order(blocks, self._answer, limit=self.settings.blocks_in_flight)
            async with aclosing(results):
                async for answer in results:
                    yield answer
        except HTTPException as error:
            yield _last(problem(error.status_code, error.detail))
        else:
            yield _last(None)

    async def _answer(self, block: pa.RecordBatch) -> bytes:
        if block.get_total_buffer_size() <= self.settings.thread_bytes:
            return self._score(block)
        return await asyncio.to_thread(self._score, block)

    def _score(self, block: pa.RecordBatch) -> bytes:
        try:
            block.validate(full=True)
        except pa.ArrowInvalid as error:
            raise HTTPException(422, f"The record batch cannot be read: {error}") from error
        column = block[COLUMN]
        wrong = pc.fill_null(
            pc.greater(pc.binary_length(column), self.settings.max_line_bytes), True
        )
        nulls = wrong.to_numpy(zero_copy_only=False) if pc.any(wrong).as_py() else None
        texts = column if nulls is None else column.filter(pc.invert(wrong))
        scores = self._score_column(texts)
        perplexity = scores.perplexity()
        self.metrics.scored_batch(scores, perplexity)
        columns = [scores.log10_prob, perplexity, scores.tokens, scores.oov]
        answer = pa.record_batch(columns, schema=SCHEMA)
        if nulls is not None:
            self.metrics.stream_line_errors.inc(int(nulls.sum()))
            answer = answer.take(pa.array(np.cumsum(~nulls) - 1, mask=nulls))
        message: bytes = answer.serialize().to_pybytes()
        return message

    def _score_column(self, texts: pa.Array) -> TextScores:
        bos, eos = self.options.bos, self.options.eos
        if isinstance(self.model, NgramModel):
            return self.model.score_array(texts, bos=bos, eos=eos)
        return self.model.score_texts(texts.to_pylist(), bos=bos, eos=eos)


async def wait_for_schema(reader: BatchReader, pieces: AsyncIterator[bytes]) -> None:
    """Reads until the schema is there; what came with it stays in the reader.

    Raises:
        HTTPException: as `BatchReader` and `pieces` do.
    """
    async for piece in pieces:
        reader.feed(piece)
        if reader.read_schema():
            return
    reader.finish()


async def _blocks(
    reader: BatchReader, pieces: AsyncIterator[bytes]
) -> AsyncGenerator[pa.RecordBatch, None]:
    for batch in reader.batches():
        for part in _parts(batch):
            yield part
    async for piece in pieces:
        reader.feed(piece)
        for batch in reader.batches():
            for part in _parts(batch):
                yield part
    reader.finish()


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in parts of some texts, so that they are scored side by side."""
    if batch.num_rows == 0:
        return
    rows = batch.num_rows * BLOCK_BYTES // max(batch.get_total_buffer_size(), 1)
    rows = min(max(rows, 1), BLOCK_LINES)
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _last(error: dict[str, Any] | None) -> bytes:
    """The end of the answer, after a batch that says what went wrong if anything did."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        if error:
            empty = pa.RecordBatch.from_pylist([], SCHEMA)
            writer.write_batch(empty, {"error": orjson.dumps(error)})
    stream: bytes = sink.getvalue().to_pybytes()
    return stream[len(SCHEMA.serialize()) :]  # The schema was written at the answer's begin.
