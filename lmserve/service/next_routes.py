"""The route that proposes the next word."""

from collections.abc import Iterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lmserve.generation import read
from lmserve.language_model import LanguageModel
from lmserve.scorer import NextWord
from lmserve.service.context import InService, json_body, parse, problems, read_context
from lmserve.service.slices import all_slices

MAX_TOP = 10_000

router = APIRouter()


class NextRequest(BaseModel):
    """A context whose next word is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"context": "the cat", "top": 5}]},
    )

    context: Annotated[str, Field(description="The words before.")] = ""
    top: Annotated[int, Field(description="How many words.", ge=1, le=MAX_TOP)] = 10
    model: Annotated[
        str | None, Field(description="Name of the model; without one, the first.")
    ] = None
    bos: Annotated[bool, Field(description="The context begins a sentence.")] = True


class NextWordAnswer(BaseModel):
    """A word that may come next."""

    word: Annotated[str, Field(description="The word; `</s>` for the sentence's end.")]
    log10_prob: Annotated[
        float | None, Field(description="log10 P(word | context); null for probability 0.")
    ]
    probability: Annotated[float, Field(description="P(word | context).", ge=0)]


class NextResponse(BaseModel):
    """The most probable words, the most probable first; fewer where the model knows fewer."""

    model: Annotated[str, Field(description="SHA-256 of the model.")]
    words: list[NextWordAnswer]


@router.post(
    "/v1/next",
    summary="Propose the next word",
    response_model=None,
    responses={200: {"model": NextResponse}, **problems(400, 404, 408, 413, 422)},
    openapi_extra=json_body(NextRequest),
)
async def next_words(request: Request, service: InService) -> Response:
    """The most probable words after a context, the sentence's end included.

    Equally probable words come in the vocabulary's order. `<unk>`, all unknown words together, is
    no word to propose: its probability is what the probabilities of all words lack to 1.
    """
    asked = parse(NextRequest, await read_context(request, service))
    served = service.models.find(asked.model)
    words = await all_slices(_propose(served.model, asked), request)
    records = [word._asdict() | {"probability": 10.0**word.log10_prob} for word in words]
    answer = {"model": served.digest, "words": records}
    return Response(orjson.dumps(answer), media_type="application/json")


def _propose(model: LanguageModel, asked: NextRequest) -> Iterator[NextWord | None]:
    state = yield from read(model, asked.context, bos=asked.bos)
    yield from model.next_words_after(state, top=asked.top)
