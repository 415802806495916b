"""Streams of lines at the speed of the model: no Python object for a text where it can be helped.

An n-gram model scores a text in less time than a cache needs to be asked for it. So whole blocks of
lines go to it, in worker threads: kernels leave the interpreter to the threads that read the next
block and write the last one.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import orjson
from starlette.exceptions import HTTPException

from lmserve.ngram.model import NgramModel
from lmserve.ngram.texts import join_lines
from lmserve.scorer import TextScores
from lmserve.service.blocks import BLOCK_BYTES, BlockSplitter
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.pipeline import gathered, in_order
from lmserve.service.problems import problem
from lmserve.service.scoring import ScoreOptions
from lmserve.service.settings import ServiceSettings
from lmserve.service.stream import error_line, read_json

# Reads the texts of a block, one line each; and, by the line's place, why it has none.
BlockReader = Callable[[bytes], tuple[bytes, dict[int, str]]]


def read_plain_block(block: bytes) -> tuple[bytes, dict[int, str]]:
    """Lines of `text/plain` are texts as they stand."""
    return block, {}


def read_json_block(block: bytes) -> tuple[bytes, dict[int, str]]:
    """The texts of lines of NDJSON; line breaks in them become spaces, as models take them."""
    lines = block.split(b"\n")[:-1]
    try:
        # Objects with a text, all of them: the usual case, without a call of ours for any line.
        texts = list(map(itemgetter("text"), map(orjson.loads, lines)))
        joined = "\n".join(texts)
    except (ValueError, TypeError, KeyError):
        return _read_mixed_lines(lines)
    if joined.count("\n") >= len(texts):
        joined = "\n".join([text.replace("\n", " ") for text in texts])
    return joined.encode() + b"\n", {}


def _read_mixed_lines(lines: list[bytes]) -> tuple[bytes, dict[int, str]]:
    texts: list[bytes] = []
    errors: dict[int, str] = {}
    for place, line in enumerate(lines):
        try:
            texts.append(read_json(line))
        except ValueError as error:
            errors[place] = str(error)
    return join_lines(texts), errors


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkAnswers:
    """Answers a stream of lines, one line each, in order: the same bytes as `LineAnswers`.

    Attributes:
        model: scores the texts.
        metrics: told of every text, and counts lines that are no text.
        read: reads the texts of a block.
        settings: limits of lines and blocks.
        options: `words` is not among what these answers can say.
    """

    model: NgramModel
    metrics: ServiceMetrics
    read: BlockReader
    settings: ServiceSettings
    options: ScoreOptions

    async def stream(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """NDJSON answers to the lines in `pieces`, as soon as they are there.

        A client that doesn't read its answers is soon not read from either. Where `pieces` raises
        `HTTPException`, that is the last answer.
        """
        lines = 0

        async def numbered() -> AsyncGenerator[tuple[bytes | None, int], None]:
            nonlocal lines
            async for block in _blocks(pieces, self.settings.max_line_bytes):
                first = lines + 1
                lines += 1 if block is None else block.count(b"\n")
                yield block, first

        try:
            results = in_order(numbered(), self._answer, limit=self.settings.blocks_in_flight)
            async with aclosing(results):
                async for answer in results:
                    yield answer
        except HTTPException as error:
            yield error_line(problem(error.status_code, error.detail), lines + 1) + b"\n"

    async def _answer(self, numbered: tuple[bytes | None, int]) -> bytes:
        block, first_number = numbered
        if block is None:
            self.metrics.stream_line_errors.inc()
            detail = f"the line is longer than {self.settings.max_line_bytes} bytes"
            return error_line(problem(413, detail), first_number) + b"\n"
        if len(block) <= self.settings.thread_bytes:
            return self._score(block, first_number)
        return await asyncio.to_thread(self._score, block, first_number)

    def _score(self, block: bytes, first_number: int) -> bytes:
        texts, errors = self.read(block)
        scores = self.model.score_buffer(texts, bos=self.options.bos, eos=self.options.eos)
        perplexity = scores.perplexity()
        self.metrics.scored_batch(scores, perplexity)
        answers = format_scores(scores, perplexity)
        if not errors:
            return answers
        self.metrics.stream_line_errors.inc(len(errors))
        lines = answers.split(b"\n")
        for place in sorted(errors):
            lines.insert(place, error_line(problem(422, errors[place]), first_number + place))
        return b"\n".join(lines)


def format_scores(scores: TextScores, perplexity: npt.NDArray[np.float64]) -> bytes:
    """A line of JSON for each text, the bytes that orjson makes of `score_record`."""
    columns = {
        b'{"log10_prob":': scores.log10_prob,
        b',"perplexity":': perplexity,
        b',"tokens":': scores.tokens,
        b',"oov":': scores.oov,
    }
    count = len(scores)
    parts = [part for name in columns for part in (name, b"")] + [b"}\n"]
    width = len(parts)
    parts *= count
    for place, column in enumerate(columns.values()):
        numbers = orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)
        parts[2 * place + 1 :: width] = numbers[1:-1].split(b",") if count else []
    return b"".join(parts)


async def _blocks(pieces: AsyncIterator[bytes], max_line_bytes: int) -> AsyncIterator[bytes | None]:
    splitter = BlockSplitter(max_line_bytes)
    async for piece in gathered(pieces, BLOCK_BYTES):
        for block in splitter.feed(piece):
            yield block
    for block in splitter.finish():
        yield block
