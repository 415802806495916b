"""Completions piece by piece: the whole answer is what the pieces of a stream add up to."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lmserve.generation import Finish, Said, say
from lmserve.language_model import LanguageModel
from lmserve.sampling import SamplingOptions
from lmserve.scorer import NextWord
from lmserve.service.generate_schemas import as_list
from lmserve.service.openai_schemas import CompletionRequest
from lmserve.service.prompts import Prompt
from lmserve.text.special_tokens import BOS, EOS, UNK

_LN_10 = math.log(10)
# JSON has no infinity; OpenAI's services say this of what is all but impossible.
_IMPOSSIBLE = -9999.0
# By its own end or by a stop sequence: OpenAI's clients know one word for both.
_FINISHES = {Finish.END: "stop", Finish.STOP: "stop", Finish.LENGTH: "length"}


class Token(NamedTuple):
    """A token of an answer.

    Attributes:
        token: as it is shown.
        offset: where in the choice's text it begins, in characters.
        log_prob: ln P(token | the tokens before it); None for a prompt's own `<s>`.
        top: the likeliest words in its place and itself, with ln P; None where nobody asked.
    """

    token: str
    offset: int
    log_prob: float | None
    top: dict[str, float] | None


class Piece(NamedTuple):
    """What a choice grows by.

    Attributes:
        choice: which one.
        text: added to its text.
        tokens: added to its tokens.
        generated: how many of these tokens the model chose.
        finish: OpenAI's word for why nothing comes after it; None while something does.
    """

    choice: int
    text: str
    tokens: Sequence[Token]
    generated: int = 0
    finish: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Completing:
    """The completion of prompts.

    Attributes:
        model: what completes them.
        asked: how.
        seed: of all prompts, so that a prompt's answer does not depend on those beside it.
    """

    model: LanguageModel
    asked: CompletionRequest
    seed: int

    def pieces(self, prompts: Sequence[Prompt]) -> Iterator[Piece | None]:
        """Yields each choice's pieces, choice after choice, and None where a slice can end."""
        n = self.asked.n
        for number, prompt in enumerate(prompts):
            state, tokens = yield from self._read(prompt)
            for i in range(n):
                index = number * n + i
                if self.asked.echo:
                    yield Piece(index, prompt.text, tokens)
                yield from self._complete(prompt, state, i, index)

    def _read(self, prompt: Prompt) -> Generator[None, None, tuple[Any, list[Token]]]:
        """The state after a prompt, and its tokens, scored if they are to be shown."""
        scored = self.asked.echo and self.asked.logprobs is not None
        state = self.model.begin_state()
        tokens: list[Token] = []
        for i, word in enumerate(prompt.ids):
            if scored:
                tokens.append(self._prompt_token(prompt, i, state))
            # What a sentence's mark leads to is the beginning of a sentence.
            marked = word in (BOS, EOS)
            state = self.model.begin_state() if marked else self.model.advance(state, word)
            yield
        return state, tokens

    def _prompt_token(self, prompt: Prompt, i: int, state: Any) -> Token:
        word, token, offset = prompt.ids[i], prompt.tokens[i], prompt.offsets[i]
        if word == BOS:
            return Token(token, offset, None, None)
        scores = self.model.log10_distribution(state)
        likeliest = self.model.likeliest(scores, self.asked.logprobs or 0)
        # An unknown word is none that the model could choose, however probable all of them are.
        itself = None if word == UNK else token
        return self._token(token, offset, float(scores[word]), likeliest, itself)

    def _complete(self, prompt: Prompt, state: Any, i: int, index: int) -> Iterator[Piece | None]:
        asked = self.asked
        options = SamplingOptions(
            temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p, seed=self.seed
        )
        base = len(prompt.text) if asked.echo else 0
        for item in say(
            self.model,
            state,
            options,
            index=i,
            max_words=asked.max_tokens,
            stops=as_list(asked.stop),
            spaced=prompt.text[-1:] not in ("", " ", "\t", "\r", "\n"),
            top=asked.logprobs or 0,
        ):
            if isinstance(item, Said):
                offset = base + item.offset
                token = self._token(item.word, offset, item.log10_prob, item.top, item.word)
                yield Piece(index, item.text, [token], 1)
            elif isinstance(item, Finish):
                yield Piece(index, "", [], finish=_FINISHES[item])
            else:
                yield None

    def _token(
        self,
        token: str,
        offset: int,
        log10_prob: float,
        likeliest: Sequence[NextWord],
        itself: str | None,
    ) -> Token:
        if not self.asked.logprobs:
            return Token(token, offset, _natural(log10_prob), None)
        top: dict[str, float] = {}
        for word, score in likeliest:
            # Words that are no UTF-8 may look alike: the likelier one stays.
            top.setdefault(word, _natural(score))
        if itself is not None:
            top.setdefault(itself, _natural(log10_prob))
        return Token(token, offset, _natural(log10_prob), top)


def _natural(log10_prob: float) -> float:
    return max(log10_prob * _LN_10, _IMPOSSIBLE)
