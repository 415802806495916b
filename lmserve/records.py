"""Scores as JSON, with the field names that every interface of lmserve uses.

JSON has no infinity: a probability of 0, and the perplexity that follows from it, are null. That is
how orjson writes infinite numbers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from lmserve.scorer import Scorer, TextScore, TextScores, WordScore


def score_record(score: TextScore, words: Sequence[WordScore] | None = None) -> dict[str, Any]:
    """One text's score for orjson: log10_prob, perplexity, tokens, oov, and words if given."""
    record: dict[str, Any] = {
        "log10_prob": score.log10_prob,
        "perplexity": score.perplexity,
        "tokens": score.tokens,
        "oov": score.oov,
    }
    if words is not None:
        record["words"] = [word._asdict() for word in words]
    return record


def score_lines(
    scorer: Scorer, lines: Sequence[bytes], scores: TextScores, *, words: bool
) -> Iterator[bytes]:
    """Yields a line of JSON for each text.

    Args:
        scorer: the model.
        lines: the texts.
        scores: of them.
        words: add the score of each word.
    """
    for line, score in zip(lines, scores.rows(), strict=True):
        details = scorer.score_words(line) if words else None
        yield orjson.dumps(score_record(score, details), option=orjson.OPT_APPEND_NEWLINE)
