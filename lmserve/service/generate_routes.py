"""The route that draws sentences."""

import math
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response

from lmserve.generation import Finish, Said, read, say
from lmserve.language_model import LanguageModel
from lmserve.sampling import SamplingOptions
from lmserve.service.context import (
    MODEL_HEADER,
    InService,
    Service,
    json_body,
    parse,
    problems,
    read_context,
)
from lmserve.service.events import MEDIA_TYPE as EVENTS
from lmserve.service.events import event, event_stream
from lmserve.service.generate_schemas import (
    GenerateRequest,
    GenerateResponse,
    SentenceAnswer,
    WordAnswer,
    as_list,
)
from lmserve.service.settings import ServiceSettings
from lmserve.service.slices import all_slices, in_slices

_ANSWERS = {
    "description": "The sentences; with `stream`, events `word`, `sentence` and at last `done`.",
    "model": GenerateResponse,
    "content": {EVENTS: {"schema": {"type": "string"}}},
}

router = APIRouter()


@router.post(
    "/v1/generate",
    summary="Draw sentences",
    response_model=None,
    responses={200: _ANSWERS, **problems(400, 404, 408, 413, 422)},
    openapi_extra=json_body(GenerateRequest),
)
async def generate(request: Request, service: InService) -> Response:
    """Draws sentences by their probabilities, the same ones for the same seed.

    The temperature comes first, then `top_k`, then `top_p` of what is left. `<unk>` is never drawn.
    `log10_prob` is the model's own, whatever the options made of it. With `stream`, the answer is
    an event stream: an event `word` (`index`, `word`, `log10_prob`) for every word, `sentence` at
    the end of each, and at last `done` with `model` and `seed`. Whoever leaves ends the work.
    """
    asked = parse(GenerateRequest, await read_context(request, service))
    _check_limits(asked, service.settings)
    served = service.models.find(asked.model)
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    work = _generate(served.model, asked, seed)
    about = {"model": served.digest, "seed": seed}
    if asked.stream:
        return event_stream(_events(work, about, service), {MODEL_HEADER: served.digest})
    whole = (item if isinstance(item, SentenceAnswer) else None for item in work)
    sentences = await all_slices(whole, request)
    service.metrics.generated_words.inc(sum(one.tokens for one in sentences))
    answer = about | {"sentences": [one.model_dump() for one in sentences]}
    return Response(orjson.dumps(answer), media_type="application/json")


def _check_limits(asked: GenerateRequest, settings: ServiceSettings) -> None:
    """Raises `HTTPException` 422 for more sentences or words than one request may have."""
    if asked.n > settings.max_sentences:
        raise HTTPException(422, f"n is {asked.n}; ask for at most {settings.max_sentences}.")
    if asked.n * asked.max_words > settings.max_answer_words:
        raise HTTPException(
            422,
            f"n times max_words is {asked.n * asked.max_words}; "
            f"ask for at most {settings.max_answer_words} words.",
        )


def _generate(
    model: LanguageModel, asked: GenerateRequest, seed: int
) -> Iterator[WordAnswer | SentenceAnswer | None]:
    options = SamplingOptions(
        temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p, seed=seed
    )
    state = yield from read(model, asked.context, bos=asked.bos)
    for index in range(asked.n):
        said: list[Said] = []
        for item in say(
            model,
            state,
            options,
            index=index,
            max_words=asked.max_words,
            stops=as_list(asked.stop),
        ):
            if isinstance(item, Said):
                said.append(item)
                yield WordAnswer(index=index, word=item.word, log10_prob=item.log10_prob)
            elif isinstance(item, Finish):
                yield SentenceAnswer(
                    index=index,
                    text="".join(word.text for word in said),
                    finish=item,
                    tokens=len(said),
                    log10_prob=math.fsum(word.log10_prob for word in said),
                )
            else:
                yield None


async def _events(
    work: Iterator[WordAnswer | SentenceAnswer | None], about: dict[str, Any], service: Service
) -> AsyncIterator[bytes]:
    async for items in in_slices(work):
        service.metrics.generated_words.inc(sum(isinstance(item, WordAnswer) for item in items))
        named = (("word" if isinstance(item, WordAnswer) else "sentence", item) for item in items)
        if events := b"".join(event(item.model_dump(), name) for name, item in named):
            yield events
    yield event(about, "done")
