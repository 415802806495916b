"""Completions in OpenAI's shape, whole or in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from lmserve.service.completing import Piece, Token
from lmserve.service.events import event

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionAnswer:
    """How pieces become an answer.

    Attributes:
        about: the members that the whole answer and every chunk have in common.
        logprobs: tell log probabilities.
        prompt_tokens: of all prompts.
        include_usage: a stream ends with a chunk that says how many tokens there were.
    """

    about: dict[str, Any]
    logprobs: bool
    prompt_tokens: int
    include_usage: bool

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """The JSON of the whole answer."""
        choices = []
        for _, group in groupby(pieces, lambda piece: piece.choice):
            parts = list(group)
            tokens = [token for piece in parts for token in piece.tokens]
            text = "".join(piece.text for piece in parts)
            choices.append(self._choice(parts[-1]._replace(text=text, tokens=tokens)))
        generated = sum(piece.generated for piece in pieces)
        return orjson.dumps(self.about | {"choices": choices, "usage": self._usage(generated)})

    def chunk(self, piece: Piece) -> bytes:
        """The event of one piece."""
        usage = {"usage": None} if self.include_usage else {}
        return event(self.about | {"choices": [self._choice(piece)]} | usage)

    def last_events(self, generated: int) -> bytes:
        """What ends a stream."""
        if not self.include_usage:
            return DONE
        return event(self.about | {"choices": [], "usage": self._usage(generated)}) + DONE

    def _choice(self, piece: Piece) -> dict[str, Any]:
        return {
            "text": piece.text,
            "index": piece.choice,
            "logprobs": _log_probs(piece.tokens) if self.logprobs else None,
            "finish_reason": piece.finish,
        }

    def _usage(self, generated: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": self.prompt_tokens + generated,
        }


def _log_probs(tokens: Sequence[Token]) -> dict[str, Any]:
    asked_for_others = any(token.top is not None for token in tokens)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.log_prob for token in tokens],
        "top_logprobs": [token.top for token in tokens] if asked_for_others else None,
        "text_offset": [token.offset for token in tokens],
    }
