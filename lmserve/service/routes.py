"""The routes of the scoring service."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from lmserve.service.metrics import ServiceMetrics
from lmserve.service.problems import MEDIA_TYPE as PROBLEM_MEDIA_TYPE
from lmserve.service.problems import describe
from lmserve.service.schemas import Health, Problem, ScoreRequest, ScoreResponse
from lmserve.service.scoring import CachedScorer, ScoreOptions
from lmserve.service.settings import ServiceSettings
from lmserve.service.stream import DuplexResponse, LineAnswers, read_json, read_plain

MODEL_HEADER = "X-Model-Digest"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What the routes work with."""

    scorer: CachedScorer
    metrics: ServiceMetrics
    settings: ServiceSettings


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": Problem.model_json_schema()}
    return {
        status: {"description": "What is wrong.", "content": {PROBLEM_MEDIA_TYPE: schema}}
        for status in statuses
    }


_SCORE_BODY = {
    "required": True,
    "content": {"application/json": {"schema": ScoreRequest.model_json_schema()}},
}
_STREAM_BODY = {
    "required": True,
    "content": {
        NDJSON: {"schema": {"type": "string"}, "example": '{"text": "the cat"}\n"sat"\n'},
        "text/plain": {"schema": {"type": "string"}, "example": "the cat\nsat\n"},
    },
}
_STREAM_ANSWER = {
    "description": "One line each: a `ScoreAnswer`, or `error` (a problem) and its `line` number.",
    "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/ScoreAnswer"}}},
}

InService = Annotated[Service, Depends(_service)]
router = APIRouter()


@router.post(
    "/v1/score",
    summary="Score texts",
    response_model=None,
    responses={200: {"model": ScoreResponse}, **_problems(400, 408, 413, 422)},
    openapi_extra={"requestBody": _SCORE_BODY},
)
async def score(request: Request, service: InService) -> Response:
    """Scores one text or a list of them; the answer has a list of scores in either case.

    Probabilities are base 10 logarithms. JSON has no infinity: a probability of 0 and the
    perplexity that follows from it are null. A body that asks for words has a lower limit.
    """
    body = await _read_body(request, _pieces(request, service), service.settings.max_body_bytes)
    asked = _parse(body)
    if asked.words and len(body) > service.settings.max_words_bytes:
        raise _too_long(service.settings.max_words_bytes, " with words")
    options = ScoreOptions(words=asked.words, bos=asked.bos, eos=asked.eos)
    scores = await service.scorer.answers(asked.encoded_texts(), options)
    # Put together from JSON: scores of words are long, and orjson holds up the event loop.
    answer = (orjson.dumps(service.scorer.digest), b",".join(scores))
    return Response(b'{"model":%b,"scores":[%b]}' % answer, media_type="application/json")


@router.post(
    "/v1/score/stream",
    summary="Score a stream of lines",
    response_model=None,
    responses={200: _STREAM_ANSWER, **_problems(415, 422)},
    openapi_extra={"requestBody": _STREAM_BODY},
)
async def score_stream(
    request: Request,
    service: InService,
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
    """
    settings = service.settings
    answers = LineAnswers(
        scorer=service.scorer,
        metrics=service.metrics,
        read=read_plain if _is_plain(request) else read_json,
        max_line_bytes=(
            min(settings.max_line_bytes, settings.max_words_bytes)
            if words
            else settings.max_line_bytes
        ),
        options=ScoreOptions(words=words, bos=bos, eos=eos),
    )
    stream: AsyncIterator[bytes] = answers.stream(_pieces(request, service))
    headers = {MODEL_HEADER: service.scorer.digest}
    return DuplexResponse(stream, headers=headers, media_type=NDJSON)


@router.get("/healthz", summary="Whether the service answers")
async def healthz(service: InService) -> Health:
    """Answers as soon as the model is loaded."""
    return Health(model=service.scorer.digest)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_model=None,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: InService) -> Response:
    """Counters of all replicas on the node that answers, in Prometheus text format."""
    return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _pieces(request: Request, service: Service) -> AsyncIterator[bytes]:
    """The body as it comes, or 408 as soon as the client's pause is longer than allowed."""
    pieces = request.stream()
    max_idle_s = service.settings.max_idle_s
    while True:
        try:
            async with asyncio.timeout(max_idle_s):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            service.metrics.idle_requests.inc()
            detail = f"Nothing came for {max_idle_s:g} s; send the rest in a new request."
            raise HTTPException(408, detail, {"Connection": "close"}) from error
        if piece is None:
            return
        yield piece


async def _read_body(request: Request, pieces: AsyncIterable[bytes], max_bytes: int) -> bytes:
    """The body, or 413 as soon as it is longer than `max_bytes`: no more is ever held."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_long(max_bytes)
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > max_bytes:
            raise _too_long(max_bytes)
    return bytes(body)


def _too_long(max_bytes: int, condition: str = "") -> HTTPException:
    return HTTPException(
        413,
        f"The body is longer than {max_bytes} bytes{condition}; "
        "send fewer texts at a time, or use the stream.",
    )


def _parse(body: bytes) -> ScoreRequest:
    try:
        return ScoreRequest.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        broken = any(one["type"] == "json_invalid" for one in errors)
        raise HTTPException(400 if broken else 422, describe(errors)) from error


def _is_plain(request: Request) -> bool:
    """Whether lines are texts as they stand; 415 for types that hold no lines."""
    media_type = request.headers.get("content-type", NDJSON).partition(";")[0].strip().lower()
    if media_type == "text/plain":
        return True
    if media_type in (NDJSON, "application/ndjson", "application/jsonl", "application/json"):
        return False
    raise HTTPException(415, f"Send {NDJSON} or text/plain, not {media_type!r}.")
