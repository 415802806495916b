"""Text to token ids and back, in the shape of vLLM's server, which evaluation harnesses ask for."""

from typing import Any

from fastapi import APIRouter, Request

from lmserve.ngram.texts import as_text
from lmserve.service.context import InService, ModelName, json_body, read_context
from lmserve.service.openai_errors import OpenAIRoute, openai_errors, parse_openai
from lmserve.service.openai_schemas import DetokenizeRequest, TokenizeRequest
from lmserve.service.prompts import prompt_of_ids, prompt_of_text
from lmserve.text.special_tokens import BOS, EOS, SPECIAL_WORDS, UNK

router = APIRouter(route_class=OpenAIRoute)

_UNK, _BOS, _EOS = (as_text(SPECIAL_WORDS[mark]) for mark in (UNK, BOS, EOS))
_MARKS = {_BOS: [BOS], _EOS: [EOS]}


@router.get(
    "/tokenizer_info", summary="The marks that a tokenizer has", responses=openai_errors(404)
)
async def tokenizer_info(service: InService, model: ModelName = None) -> dict[str, Any]:
    """The marks of unknown words and of a sentence's two ends."""
    words = len(service.models.find(model).model.vocabulary)
    return {
        "tokenizer_class": "lmserve",
        "vocab_size": words,
        "unk_token": _UNK,
        "bos_token": _BOS,
        "eos_token": _EOS,
        "pad_token": None,
    }


@router.post(
    "/tokenize",
    summary="Token ids of a text",
    responses=openai_errors(400, 404, 408, 413),
    openapi_extra=json_body(TokenizeRequest),
)
async def tokenize(request: Request, service: InService) -> dict[str, Any]:
    """The ids of a text's words. `<s>` or `</s>` alone is that mark; in a text it is a word."""
    asked = parse_openai(TokenizeRequest, await read_context(request, service))
    model = service.models.find(asked.model).model
    ids = _MARKS.get(asked.prompt.strip()) or prompt_of_text(model, asked.prompt).ids
    tokens = [BOS, *ids] if asked.add_special_tokens else ids
    return {"count": len(tokens), "tokens": tokens}


@router.post(
    "/detokenize",
    summary="Text of token ids",
    responses=openai_errors(400, 404, 408, 413),
    openapi_extra=json_body(DetokenizeRequest),
)
async def detokenize(request: Request, service: InService) -> dict[str, Any]:
    """The words of ids, joined by spaces, without `<s>` and `</s>`."""
    asked = parse_openai(DetokenizeRequest, await read_context(request, service))
    model = service.models.find(asked.model).model
    return {"prompt": prompt_of_ids(model, asked.tokens).text}
