"""The routes that score whole texts: one body of them, or a stream of lines."""

from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, HTTPException, Query, Request, Response

from lmserve.ngram.model import NgramModel
from lmserve.service.arrow_answers import MEDIA_TYPE as ARROW
from lmserve.service.arrow_answers import ArrowAnswers, wait_for_schema
from lmserve.service.arrow_messages import BatchReader
from lmserve.service.bulk import BulkAnswers, read_json_block, read_plain_block
from lmserve.service.context import (
    MODEL_HEADER,
    NDJSON,
    InService,
    ModelName,
    Service,
    json_body,
    parse,
    pieces,
    problems,
    read_body,
    too_long,
    while_connected,
)
from lmserve.service.continuations import continued
from lmserve.service.schemas import ScoreRequest, ScoreResponse
from lmserve.service.scoring import ScoreOptions
from lmserve.service.served import ServedModel
from lmserve.service.stream import (
    DuplexResponse,
    LineAnswers,
    LineReader,
    read_json,
    read_plain,
)
from lmserve.service.text_limits import check_length

PLAIN = "text/plain"
_STREAM_BODY = {
    "required": True,
    "content": {
        NDJSON: {"schema": {"type": "string"}, "example": '{"text": "the cat"}\n"sat"\n'},
        PLAIN: {"schema": {"type": "string"}, "example": "the cat\nsat\n"},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
    },
}
_STREAM_ANSWER = {
    "description": "One line each: a `ScoreAnswer`, or `error` (a problem) and its `line` number.",
    "content": {
        NDJSON: {"schema": {"$ref": "#/components/schemas/ScoreAnswer"}},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
    },
}


router = APIRouter()


@router.post(
    "/v1/score",
    summary="Score texts",
    response_model=None,
    responses={
        200: {"model": ScoreResponse},
        **problems(400, 404, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=json_body(ScoreRequest),
)
async def score(request: Request, service: InService) -> Response:
    """Scores one text or a list of them; the answer has a list of scores in either case.

    Probabilities are base 10 logarithms. JSON has no infinity: a probability of 0 and the
    perplexity that follows from it are null. A body that asks for words, `after` or `keep` has a
    lower limit. With `after`, `bos` means nothing.
    """
    body = await read_body(request, service)
    asked = parse(ScoreRequest, body)
    step_by_step = asked.keep or asked.after is not None
    if (asked.words or step_by_step) and len(body) > service.settings.max_words_bytes:
        condition = " with words" if asked.words else " with after or keep"
        raise too_long(service.settings.max_words_bytes, condition)
    model = service.models.find(asked.model)
    texts = asked.encoded_texts()
    for text in texts:
        check_length(text, service.settings.protection.max_text_words)
    if step_by_step:
        scores = await continued(service, model, asked)
    else:
        options = ScoreOptions(words=asked.words, bos=asked.bos, eos=asked.eos)
        scoring = model.scorer.answers(texts, options)
        scores = await (while_connected(request, scoring) if model.scorer.batches else scoring)
    # Put together from JSON: scores of words are long, and orjson holds up the event loop.
    answer = (orjson.dumps(model.digest), b",".join(scores))
    return Response(
        b'{"model":%b,"scores":[%b]}' % answer,
        headers={MODEL_HEADER: model.digest},
        media_type="application/json",
    )


@router.post(
    "/v1/score/stream",
    summary="Score a stream of lines",
    response_model=None,
    responses={200: _STREAM_ANSWER, **problems(400, 404, 408, 413, 415, 422)},
    openapi_extra={"requestBody": _STREAM_BODY},
)
async def score_stream(
    request: Request,
    service: InService,
    model: ModelName = None,
    words: Annotated[bool, Query(description="Add the score of each word.")] = False,
    bos: Annotated[
        bool, Query(description="Condition the first word on the start of a sentence.")
    ] = True,
    eos: Annotated[bool, Query(description="Add the probability of the sentence's end.")] = True,
) -> Response:
    r"""Answers every line with one line, in order, while the request is still being sent.

    A line of NDJSON is an object with a string `text` (other members are ignored) or a JSON
    string. A line of `text/plain` is a text as it stands, and an empty line is an empty sentence.
    Lines end with `\n`; the last one may do without. A line that has no text (a blank one of
    NDJSON included) or is too long is answered by `error` and its `line` number, counted from 1,
    and the stream goes on. The model's digest is in the header `X-Model-Digest`. Whoever sends
    much without reading the answers is made to wait; whoever sends nothing for long gets a last
    answer, an `error` of status 408.

    An Arrow stream of batches with a column `text` is answered by one of batches with the columns
    `log10_prob`, `perplexity`, `tokens`, `oov`, a row a text; the row of a text that is null or too
    long is null. What ends it too early is told by a last batch without rows, whose custom metadata
    `error` is a problem. Any body may be compressed, with `Content-Encoding` gzip or zstd.
    """
    served = service.models.find(model)
    options = ScoreOptions(words=words, bos=bos, eos=eos)
    media_type = _media_type(request)
    body = pieces(request, service)
    if media_type == ARROW:
        stream = await _arrow_stream(service, served, options, body)
    else:
        answers = _line_answers(service, served, options, plain=media_type == PLAIN)
        stream = answers.stream(body)
    headers = {MODEL_HEADER: served.digest}
    answer_type = ARROW if media_type == ARROW else NDJSON
    return DuplexResponse(stream, headers=headers, media_type=answer_type)


def _line_answers(
    service: Service, served: ServedModel, options: ScoreOptions, *, plain: bool
) -> LineAnswers | BulkAnswers:
    """What answers lines: in bulk where a model scores whole texts faster than a cache answers."""
    settings = service.settings
    text_by_text = options.words or settings.protection.max_text_words is not None
    if isinstance(served.model, NgramModel) and not text_by_text:
        return BulkAnswers(
            model=served.model,
            metrics=service.metrics,
            read=read_plain_block if plain else read_json_block,
            settings=settings,
            options=options,
        )
    max_words_bytes = min(settings.max_line_bytes, settings.max_words_bytes)
    return LineAnswers(
        scorer=served.scorer,
        metrics=service.metrics,
        read=_reader(settings.protection.max_text_words, plain=plain),
        max_line_bytes=max_words_bytes if options.words else settings.max_line_bytes,
        options=options,
    )


def _reader(max_words: int | None, *, plain: bool) -> LineReader:
    read = read_plain if plain else read_json

    def read_within(line: bytes) -> bytes:
        return check_length(read(line), max_words)

    return read if max_words is None else read_within


async def _arrow_stream(
    service: Service, served: ServedModel, options: ScoreOptions, body: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Answers record batches, once the schema has come and has texts."""
    if options.words:
        raise HTTPException(422, f"Scores of words are not sent as {ARROW}; send {NDJSON}.")
    reader = BatchReader(service.settings.max_body_bytes)
    await wait_for_schema(reader, body)
    answers = ArrowAnswers(
        model=served.model,
        metrics=service.metrics,
        settings=service.settings,
        options=options,
    )
    return answers.stream(reader, body)


def _media_type(request: Request) -> str:
    """What the body holds: NDJSON, lines that are texts as they stand, or Arrow's batches."""
    media_type = request.headers.get("content-type", NDJSON).partition(";")[0].strip().lower()
    if media_type in (PLAIN, ARROW):
        return media_type
    if media_type in (NDJSON, "application/ndjson", "application/jsonl", "application/json"):
        return NDJSON
    raise HTTPException(415, f"Send {NDJSON}, {PLAIN} or {ARROW}, not {media_type!r}.")
