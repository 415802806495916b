"""OpenAI's completions, for the clients and evaluation harnesses that speak them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence

from fastapi import APIRouter, Request, Response

from lmserve.language_model import LanguageModel
from lmserve.service.completing import Completing, Piece
from lmserve.service.context import MODEL_HEADER, InService, Service, json_body, read_context
from lmserve.service.events import MEDIA_TYPE as EVENTS
from lmserve.service.events import event_stream
from lmserve.service.openai_answers import CompletionAnswer
from lmserve.service.openai_errors import (
    InvalidRequestError,
    OpenAIRoute,
    openai_errors,
    parse_openai,
)
from lmserve.service.openai_schemas import CompletionRequest
from lmserve.service.prompts import Prompt, prompt_of_ids, prompt_of_text
from lmserve.service.settings import ServiceSettings
from lmserve.service.slices import all_slices, in_slices

_ANSWERS = {
    "description": "OpenAI's completion object; with `stream`, its chunks as events.",
    "content": {
        "application/json": {"schema": {"type": "object"}},
        EVENTS: {"schema": {"type": "string"}},
    },
}

router = APIRouter(route_class=OpenAIRoute)


@router.post(
    "/v1/completions",
    summary="Complete or score prompts, as OpenAI's clients ask for it",
    response_model=None,
    responses={200: _ANSWERS, **openai_errors(400, 404, 408, 413)},
    openapi_extra=json_body(CompletionRequest),
)
async def completions(request: Request, service: InService) -> Response:
    """Completes prompts, or tells with `echo` and `logprobs` how probable they are.

    Tokens are words, token ids are ids of the model's vocabulary. A prompt begins a sentence, so
    that its first token has a probability, too; the log probabilities are natural, and those of an
    echoed text add up to what `/v1/score` says of it without its end. Errors have OpenAI's shape.
    """
    asked = parse_openai(CompletionRequest, await read_context(request, service))
    served = service.models.find(asked.model)
    prompts = await asyncio.to_thread(_prompts, served.model, asked)
    _check_limits(asked, prompts, service.settings)
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    work = Completing(model=served.model, asked=asked, seed=seed).pieces(prompts)
    about = {
        "id": f"cmpl-{request.state.request_id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": served.name,
        "system_fingerprint": served.digest[:16],
    }
    answer = CompletionAnswer(
        about=about,
        logprobs=asked.logprobs is not None,
        prompt_tokens=sum(len(prompt.ids) for prompt in prompts),
        include_usage=asked.stream_options.include_usage,
    )
    if asked.stream:
        return event_stream(_events(work, answer, service), {MODEL_HEADER: served.digest})
    pieces = await all_slices(work, request)
    service.metrics.generated_words.inc(sum(piece.generated for piece in pieces))
    body = await asyncio.to_thread(answer.whole, pieces)
    return Response(body, media_type="application/json")


async def _events(
    work: Iterator[Piece | None], answer: CompletionAnswer, service: Service
) -> AsyncIterator[bytes]:
    generated = 0
    async for pieces in in_slices(work):
        new = sum(piece.generated for piece in pieces)
        service.metrics.generated_words.inc(new)
        generated += new
        if pieces:
            yield b"".join(map(answer.chunk, pieces))
    yield answer.last_events(generated)


def _prompts(model: LanguageModel, asked: CompletionRequest) -> list[Prompt]:
    """The prompts as tokens; raises `InvalidRequestError` where there are none, or no such ids."""
    if not asked.prompt and asked.prompt != "":
        raise InvalidRequestError("prompt: there is none in the list.", "prompt")
    return [
        prompt_of_text(model, prompt) if isinstance(prompt, str) else prompt_of_ids(model, prompt)
        for prompt in asked.prompts()
    ]


def _check_limits(
    asked: CompletionRequest, prompts: Sequence[Prompt], settings: ServiceSettings
) -> None:
    """Raises `InvalidRequestError` for more choices or words than one request may have."""
    choices = len(prompts) * asked.n
    if choices > settings.max_sentences:
        raise InvalidRequestError(
            f"{len(prompts)} prompts times n = {asked.n} are {choices} completions; "
            f"ask for at most {settings.max_sentences}.",
            "n",
        )
    echoed = asked.n * sum(len(prompt.ids) for prompt in prompts) if asked.echo else 0
    words = choices * asked.max_tokens + echoed
    if words > settings.max_answer_words:
        raise InvalidRequestError(
            f"the completions may have {words} tokens together, echoed ones included; "
            f"ask for at most {settings.max_answer_words}.",
            "max_tokens",
        )
