"""Lines in, answers out, while the request is still arriving."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lmserve.service.metrics import ServiceMetrics
from lmserve.service.problems import problem
from lmserve.service.scoring import SLICE, CachedScorer, ScoreOptions

# Reads the text from a line; ValueError says what is wrong with it.
LineReader = Callable[[bytes], bytes]


class LineSplitter:
    r"""Cuts pieces of bytes into lines at `\n`, holding back at most one line's limit.

    Args:
        max_line_bytes: lines longer than this, line break not counted, become None; their bytes
            are dropped as they come.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()
        self._too_long = False

    def feed(self, piece: bytes) -> list[bytes | None]:
        """The lines that this piece completes."""
        *complete, rest = piece.split(b"\n")
        lines: list[bytes | None] = []
        for part in complete:
            self._hold(part)
            lines.append(self._take())
        self._hold(rest)
        return lines

    def finish(self) -> list[bytes | None]:
        """The last line, where it has no line break."""
        return [self._take()] if self._held or self._too_long else []

    def _hold(self, part: bytes) -> None:
        if self._too_long or len(self._held) + len(part) > self._max_line_bytes:
            self._too_long = True
            self._held.clear()
        else:
            self._held += part

    def _take(self) -> bytes | None:
        line = None if self._too_long else bytes(self._held)
        self._held.clear()
        self._too_long = False
        return line


class DuplexResponse(StreamingResponse):
    """A streamed answer that is written while the request's body is read.

    Starlette's own also listens for a disconnect, and so takes pieces of the body from its reader.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Writes the answer, as ASGI has it; whatever made it ends with it."""
        try:
            await self.stream_response(send)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


def read_plain(line: bytes) -> bytes:
    """A line of `text/plain` is a text as it stands; an empty line is an empty sentence."""
    return line


def read_json(line: bytes) -> bytes:
    """The text of an NDJSON line: a string, or an object whose other members are ignored.

    Raises:
        ValueError: the line is no JSON, or has no text.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"invalid JSON at character {error.pos}: {error.msg}") from error
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, str):
        raise ValueError('expected {"text": "..."} or a JSON string')
    return value.encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class LineAnswers:
    """Answers a stream of lines, one line each, in order.

    Attributes:
        scorer: scores the texts.
        metrics: counts lines that are no text.
        read: reads a text from a line.
        max_line_bytes: longest line, and most text answered at once.
        options: what the answers say.
    """

    scorer: CachedScorer
    metrics: ServiceMetrics
    read: LineReader
    max_line_bytes: int
    options: ScoreOptions

    async def stream(self, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """NDJSON answers to the lines in `pieces`; those that a piece completes are one batch.

        (Or several, where a piece is large.) The next piece is asked for when the answers to the
        last one are written: a client that doesn't read its answers is not read from either. Where
        `pieces` raises `HTTPException`, that is the last answer.
        """
        answered = 0
        try:
            async for lines in _batches(pieces, self.max_line_bytes):
                yield await self._answer(lines, answered + 1)
                answered += len(lines)
        except HTTPException as error:
            yield error_line(problem(error.status_code, error.detail), answered + 1) + b"\n"

    async def _answer(self, lines: Sequence[bytes | None], first_number: int) -> bytes:
        texts: list[bytes] = []
        errors: dict[int, bytes] = {}
        for number, line in enumerate(lines, first_number):
            if line is None:
                detail = f"the line is longer than {self.max_line_bytes} bytes"
                errors[number] = error_line(problem(413, detail), number)
                continue
            try:
                texts.append(self.read(line))
            except ValueError as error:
                errors[number] = error_line(problem(422, str(error)), number)
        self.metrics.stream_line_errors.inc(len(errors))
        scores = iter(await self.scorer.answers(texts, self.options))
        numbers = range(first_number, first_number + len(lines))
        answers = [errors[number] if number in errors else next(scores) for number in numbers]
        return b"\n".join([*answers, b""])


def error_line(error: dict[str, Any], number: int) -> bytes:
    """What answers a line that has no text: the problem, and the line's number from 1."""
    return orjson.dumps({"error": error, "line": number})


async def _batches(
    pieces: AsyncIterable[bytes], max_line_bytes: int
) -> AsyncIterator[list[bytes | None]]:
    splitter = LineSplitter(max_line_bytes)
    async for piece in pieces:
        for batch in _parts(splitter.feed(piece), max_line_bytes):
            yield batch
    if lines := splitter.finish():
        yield lines


def _parts(lines: Sequence[bytes | None], max_bytes: int) -> Iterator[list[bytes | None]]:
    """Cuts lines, none longer than `max_bytes`, into parts of no more than that or `SLICE`."""
    part: list[bytes | None] = []
    part_bytes = 0
    for line in lines:
        line_bytes = len(line or b"")
        if len(part) == SLICE or part_bytes + line_bytes > max_bytes:
            yield part
            part = []
            part_bytes = 0
        part.append(line)
        part_bytes += line_bytes
    if part:
        yield part
