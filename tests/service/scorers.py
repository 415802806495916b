"""A model small enough to check by hand."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lmserve.scorer import NextWord, Text, TextScores, WordScore


class UnigramTable:
    """Words are independent. Counts its calls, so that tests see what reached the model."""

    def __init__(self, log10_probs: Mapping[bytes, float], *, unknown: float = -3.0) -> None:
        self._log10_probs = dict(log10_probs)
        self._unknown = unknown
        self.batches: list[list[Text]] = []

    @property
    def digest(self) -> str:
        return "ab" * 32

    def score_texts(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TextScores:
        self.batches.append(list(texts))
        words = [self.score_words(text, bos=bos, eos=eos) for text in texts]
        return TextScores(
            log10_prob=np.array([math.fsum(w.log10_prob for w in row) for row in words]),
            known_log10_prob=np.array(
                [math.fsum(w.log10_prob for w in row if not w.oov) for row in words]
            ),
            tokens=np.array([len(row) for row in words], dtype=np.int64),
            oov=np.array([sum(w.oov for w in row) for row in words], dtype=np.int64),
        )

    def score_words(self, text: Text, *, bos: bool = True, eos: bool = True) -> list[WordScore]:
        del bos
        raw = text.encode() if isinstance(text, str) else text
        words = raw.split() + ([b"</s>"] if eos else [])
        return [
            WordScore(
                log10_prob=self._log10_probs.get(word, self._unknown),
                ngram_length=1,
                oov=word not in self._log10_probs,
                word=word.decode("utf-8", "replace"),
            )
            for word in words
        ]

    def next_words(self, context: Text, *, top: int = 10, bos: bool = True) -> list[NextWord]:
        del context, bos
        best = sorted(self._log10_probs.items(), key=lambda item: -item[1])
        return [NextWord(word.decode(), log10_prob) for word, log10_prob in best[:top]]


def table() -> UnigramTable:
    """`the` -1, `cat` -2, `</s>` -0.5, `never` impossible, all else unknown at -3."""
    return UnigramTable({b"the": -1.0, b"cat": -2.0, b"</s>": -0.5, b"never": -math.inf})
