"""Evaluation: how well a language model predicts a text."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lmserve.errors import InputError
from lmserve.language_model import LanguageModel, Reader
from lmserve.scorer import Scorer, TextScores, perplexity
from lmserve.text.pieces import Block
from lmserve.text.sources import Piece, read_blocks, special_token_error
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Segment, identity, segmented
from lmserve.text.tokenizer import find_refused


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        perplexity: 10^(-log10_prob / tokens); the smaller, the better the model.
        perplexity_without_oov: the same over the words that are in the vocabulary.
        tokens: words scored, sentence ends included.
        oov: words outside the vocabulary.
        log10_prob: of the whole text.
        sentences: lines.
        seconds: elapsed time.
    """

    perplexity: float
    perplexity_without_oov: float
    tokens: int
    oov: int
    log10_prob: float
    sentences: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON: an infinite perplexity and the log10 of 0 become None."""
        return {
            name: None if value in (float("inf"), float("-inf")) else value
            for name, value in asdict(self).items()
        }


def evaluate(
    scorer: Scorer,
    pieces: Sequence[Piece],
    special_tokens: SpecialTokens,
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    segment: Segment = identity,
    reader: Reader | None = None,
    watch: Callable[[TextScores, Sequence[bytes]], None] = lambda _scores, _lines: None,
) -> Evaluation:
    """Scores a text, each line a sentence.

    Args:
        scorer: the model.
        pieces: the text, from `lmserve.text.sources.split`.
        special_tokens: whether `<s>`, `</s>`, `<unk>` may be in it. How they are scored is the
            scorer's affair.
        segment: how the scorer turns text into tokens, among which special tokens are looked for.
        on_progress: called with the bytes of every piece that is done.
        reader: reads the lines one after the other, each in the light of those before it, as
            recurrent models are trained and reported; None is to score every line by itself.
        watch: told of lines and their scores.

    Raises:
        InputError: the text cannot be read, is empty, or holds a special token that it may not.
    """
    started_s = time.monotonic()
    log10_prob = known_log10_prob = 0.0
    sentences = tokens = oov = 0
    for piece in pieces:
        for block in checked_blocks(piece, special_tokens, segment):
            lines = block.lines()
            scores = reader.read(lines).texts() if reader else scorer.score_texts(lines)
            watch(scores, lines)
            sentences += len(scores)
            tokens += int(scores.tokens.sum())
            oov += int(scores.oov.sum())
            log10_prob += float(scores.log10_prob.sum())
            known_log10_prob += float(scores.known_log10_prob.sum())
        on_progress(piece.size_bytes)
    if sentences == 0:
        raise InputError("the input holds no line", "Give text with one sentence a line.")
    return Evaluation(
        perplexity=perplexity(log10_prob, tokens),
        perplexity_without_oov=perplexity(known_log10_prob, tokens - oov),
        tokens=tokens,
        oov=oov,
        log10_prob=log10_prob,
        sentences=sentences,
        seconds=time.monotonic() - started_s,
    )


def reader_of(model: LanguageModel) -> Reader | None:
    """What reads a text with this model as `evaluate` should; None where lines are independent."""
    return model.reader() if model.carries_state else None


def checked_blocks(
    piece: Piece, special_tokens: SpecialTokens, segment: Segment
) -> Iterator[Block]:
    """The lines of a piece, in blocks; raises `InputError` as `evaluate`."""
    for block in read_blocks(piece):
        for tokens in segmented([block], segment):
            refused_at = find_refused(tokens.data, special_tokens)
            if refused_at >= 0:
                raise special_token_error(piece, tokens, refused_at)
        yield block
