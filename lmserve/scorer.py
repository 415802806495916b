"""The one seam between language models and everything that uses them.

An n-gram model, a recurrent network and a mixture of both are each a `Scorer`; evaluation, serving,
caching and metrics are written once, against this protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

# 10 to a power below this is a float64.
_LARGEST_EXPONENT = 308
# A text is `str`, or the raw bytes of a line: words are bytes, so both name the same words.
Text = str | bytes


class WordScore(NamedTuple):
    """One word's score; the first three fields are those of `kenlm.Model.full_scores`.

    Attributes:
        log10_prob: log10 P(word | the words before it).
        ngram_length: words in the longest n-gram of the model that ends here (1 = the word alone);
            0 for models that are not made of n-grams.
        oov: whether the word is outside the model's vocabulary.
        word: the word as written, bytes that are no UTF-8 replaced; `</s>` for the end of the
            sentence.
    """

    log10_prob: float
    ngram_length: int
    oov: bool
    word: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TextScores:
    """Scores of a batch of B texts, one row a text.

    Attributes:
        log10_prob: float64 [B], log10 P(text), sentence end included where asked for.
        known_log10_prob: float64 [B], the part of `log10_prob` that words in the vocabulary add.
        tokens: int64 [B], words scored, sentence ends included.
        oov: int64 [B], words outside the vocabulary.
    """

    log10_prob: npt.NDArray[np.float64]
    known_log10_prob: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    oov: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.log10_prob)

    @classmethod
    def concatenate(cls, parts: "Sequence[TextScores]") -> "TextScores":
        """The scores of several batches, one after the other."""
        empty = cls(
            log10_prob=np.empty(0, np.float64),
            known_log10_prob=np.empty(0, np.float64),
            tokens=np.empty(0, np.int64),
            oov=np.empty(0, np.int64),
        )
        every = (empty, *parts)
        return cls(
            log10_prob=np.concatenate([part.log10_prob for part in every]),
            known_log10_prob=np.concatenate([part.known_log10_prob for part in every]),
            tokens=np.concatenate([part.tokens for part in every]),
            oov=np.concatenate([part.oov for part in every]),
        )

    def perplexity(self) -> npt.NDArray[np.float64]:
        """Perplexity per word, float64 [B]: to the bit what `TextScore.perplexity` is."""
        counted = self.tokens > 0
        exponents = np.zeros(len(self))
        np.divide(-self.log10_prob, self.tokens, out=exponents, where=counted)
        finite = exponents < _LARGEST_EXPONENT
        # Not NumPy's power, whose last bit depends on the processor.
        powers = map(pow, repeat(10.0), np.where(finite, exponents, 0.0).tolist())
        return np.where(finite, np.fromiter(powers, np.float64, len(self)), np.inf)

    def rows(self) -> "list[TextScore]":
        """The score of each text by itself."""
        columns = (self.log10_prob.tolist(), self.tokens.tolist(), self.oov.tolist())
        return [TextScore(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenScores:
    """Scores of the N tokens of a batch of B texts, text after text.

    Attributes:
        log10_prob: float64 [N].
        ngram_length: uint8 [N], as in `WordScore`.
        oov: bool [N], tokens outside the vocabulary.
        starts: int64 [B + 1], where each text's tokens begin.
    """

    log10_prob: npt.NDArray[np.float64]
    ngram_length: npt.NDArray[np.uint8]
    oov: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.int64]

    @classmethod
    def without_ngrams(
        cls,
        log10_prob: npt.NDArray[np.float64],
        oov: npt.NDArray[np.bool_],
        starts: npt.NDArray[np.int64],
    ) -> "TokenScores":
        """Scores of a model that is not made of n-grams; the arguments as in the class."""
        lengths = np.zeros(len(oov), np.uint8)
        return cls(log10_prob=log10_prob, ngram_length=lengths, oov=oov, starts=starts)

    def texts(self) -> TextScores:
        """The sums over each text."""
        known = np.where(self.oov, 0.0, self.log10_prob)
        return TextScores(
            log10_prob=self._sums(self.log10_prob),
            known_log10_prob=self._sums(known),
            tokens=np.diff(self.starts),
            oov=self._sums(self.oov.astype(np.int64)),
        )

    def _sums(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        sums = np.zeros(len(self.starts) - 1, values.dtype)
        filled = np.flatnonzero(np.diff(self.starts))
        if len(filled):
            sums[filled] = np.add.reduceat(values, self.starts[filled])
        return sums


class TextScore(NamedTuple):
    """The score of one text; the fields are those of `TextScores`."""

    log10_prob: float
    tokens: int
    oov: int

    @property
    def perplexity(self) -> float:
        """Perplexity per word; infinite for probability 0, 1 for a text without words."""
        return perplexity(self.log10_prob, self.tokens)


class NextWord(NamedTuple):
    """A candidate for the next word and its log10 probability."""

    word: str
    log10_prob: float


@runtime_checkable
class Scorer(Protocol):
    """A language model that scores text. Implementations are safe to call from several threads."""

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score; equal digest, equal scores."""
        ...

    def score_texts(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TextScores:
        """Scores a batch of texts.

        Args:
            texts: one sentence each; a line break inside one separates words like a space.
            bos: condition the first word on the start of a sentence.
            eos: add the probability of the sentence's end.
        """
        ...

    def score_words(self, text: Text, *, bos: bool = True, eos: bool = True) -> list[WordScore]:
        """Scores one text word by word; the scores add up to that of `score_texts`."""
        ...

    def next_words(self, context: Text, *, top: int = 10, bos: bool = True) -> list[NextWord]:
        """The `top` most probable next words after `context`, the sentence end included."""
        ...


def perplexity(log10_prob: float, tokens: int) -> float:
    """10^(-log10_prob / tokens): infinite for probability 0, 1 for an empty text."""
    if tokens == 0:
        return 1.0
    exponent = -log10_prob / tokens
    return 10.0**exponent if exponent < _LARGEST_EXPONENT else float("inf")
