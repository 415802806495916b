"""A place in a text: what a model remembers there, and what the text before came to.

Texts are read from place to place, and a place can be kept as bytes and read on from later, in
another process: nothing before it is read again.
"""

import math
import struct
from dataclasses import dataclass, replace
from typing import Any

from lmserve.errors import StateError
from lmserve.language_model import LanguageModel
from lmserve.ngram.texts import as_bytes, as_text
from lmserve.scorer import Text, WordScore, perplexity
from lmserve.text.continuing import tokens_after
from lmserve.text.special_tokens import BOS, EOS, SPECIAL_WORDS, SpecialTokens

# Version, whether a sentence has begun, the model's digest, words, log10_prob; little-endian.
_HEAD = struct.Struct("<BB32sQd")
_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """A place in a text that a model reads.

    Attributes:
        state: the model's.
        begun: whether the sentence has words already.
        words: tokens read up to here, sentence ends included.
        log10_prob: of all of them.
    """

    state: Any
    begun: bool = False
    words: int = 0
    log10_prob: float = 0.0

    @property
    def perplexity(self) -> float:
        """Of all that was read, per word; infinite for probability 0, 1 for nothing."""
        return perplexity(self.log10_prob, self.words)


def beginning(model: LanguageModel, *, bos: bool = True) -> Position:
    """The place before a text; without `bos`, not that of a sentence's start."""
    return Position(state=model.begin_state() if bos else model.null_state())


def read_text(
    model: LanguageModel, position: Position, text: Text
) -> tuple[list[WordScore], Position]:
    """Reads on.

    Args:
        model: whose state `position` has.
        position: where to begin.
        text: words that come next in the sentence.

    Returns:
        The score of each token, as `score_words` gives it where `text` stands in its sentence; the
        place after it.
    """
    tokens = tokens_after(model.segment, as_bytes(text), begun=position.begun)
    if model.special_tokens is SpecialTokens.SPACE:
        tokens = [token for token in tokens if token not in SPECIAL_WORDS]
    scores: list[WordScore] = []
    state = position.state
    for token in tokens:
        score, state = _score_token(model, state, token)
        scores.append(score)
    begun = position.begun or bool(tokens)
    return scores, _moved(replace(position, state=state, begun=begun), scores)


def end_sentence(model: LanguageModel, position: Position) -> tuple[WordScore, Position]:
    """Reads a sentence's end: its score, and the place where the next sentence begins.

    There an n-gram model knows nothing of the sentence before; a network goes on from it.
    """
    score, state = model.score_word(position.state, SPECIAL_WORDS[EOS])
    after = replace(position, state=model.next_sentence(state), begun=False)
    return score, _moved(after, [score])


def pack_position(model: LanguageModel, position: Position) -> bytes:
    """A place as bytes, for a model of the same digest."""
    digest = bytes.fromhex(model.digest)
    head = _HEAD.pack(_VERSION, position.begun, digest, position.words, position.log10_prob)
    return head + model.pack_state(position.state)


def unpack_position(model: LanguageModel, data: bytes) -> Position:
    """The place that `pack_position` packed. Nothing in `data` is trusted.

    Raises:
        StateError: it is damaged, or another model's.
    """
    if len(data) < _HEAD.size or data[0] != _VERSION:
        raise StateError(
            f"{len(data)} bytes are no place in a text, or one of another version of lmserve",
            "Begin the text again.",
        )
    _, begun, digest, words, log10_prob = _HEAD.unpack_from(data)
    if digest.hex() != model.digest:
        raise StateError(
            f"a state of the model {digest.hex()[:16]}..., not of {model.digest[:16]}...",
            "Use the model that the state comes from, or begin the text again.",
        )
    if begun > 1 or math.isnan(log10_prob):
        raise StateError(f"a state with the sum {log10_prob}", "Begin the text again.")
    state = model.unpack_state(data[_HEAD.size :])
    return Position(state=state, begun=bool(begun), words=words, log10_prob=log10_prob)


def _score_token(model: LanguageModel, state: Any, token: bytes) -> tuple[WordScore, Any]:
    """Scores a token of a text, in which `</s>` is no end of a sentence but an unknown word."""
    written = SPECIAL_WORDS[BOS] if token == SPECIAL_WORDS[EOS] else token
    score, state = model.score_word(state, written)
    return score._replace(word=as_text(token)), state


def _moved(position: Position, scores: list[WordScore]) -> Position:
    added = math.fsum(score.log10_prob for score in scores)
    return replace(
        position,
        words=position.words + len(scores),
        log10_prob=position.log10_prob + added,
    )
