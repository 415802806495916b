"""The routes of the scoring service."""

from collections.abc import AsyncIterator
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
    responses={200: {"model": ScoreResponse}, **_problems(400, 413, 422)},
    openapi_extra={"requestBody": _SCORE_BODY},
)
async def score(request: Request, service: InService) -> Response:
    """Scores one text or a list of them; the answer has a list of scores in either case.

    Probabilities are base 10 logarithms. JSON has no infinity: a probability of 0 and the
    perplexity that follows from it are null.
    """
    asked = _parse(await _read_body(request, service.settings.max_body_bytes))
    options = ScoreOptions(words=asked.words, bos=asked.bos, eos=asked.eos)
    scores = await service.scorer.answers(asked.encoded_texts(), options)
    answer = {"model": service.scorer.digest, "scores": scores}
    return Response(orjson.dumps(answer), media_type="application/json")


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
    much without reading the answers is made to wait.
    """
    answers = LineAnswers(
        scorer=service.scorer,
        metrics=service.metrics,
        read=read_plain if _is_plain(request) else read_json,
        max_line_bytes=service.settings.max_line_bytes,
        options=ScoreOptions(words=words, bos=bos, eos=eos),
    )
    stream: AsyncIterator[bytes] = answers.stream(request.stream())
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


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The body, or 413 as soon as it is longer than `max_bytes`: no more is ever held."""
    too_long = HTTPException(413, f"The body is longer than {max_bytes} bytes; use a stream.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_long
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise too_long
    return bytes(body)


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
