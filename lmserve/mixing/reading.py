"""Reading a text by a mixture, from line to line."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lmserve.language_model import LanguageModel, Reader
from lmserve.mixing.combining import Floats, combine_linear, combine_log_linear
from lmserve.mixing.components import Component
from lmserve.mixing.foretelling import Foreteller
from lmserve.mixing.word_cache import NOTHING_READ, WordCache
from lmserve.scorer import Text, TokenScores
from lmserve.text.word_table import OOV, Ids


class LinearReader:
    """Mixes what its components' readers say of each word."""

    def __init__(self, readers: Sequence[Reader], weights: Floats) -> None:
        self._readers = readers
        self._weights = weights

    def read(self, texts: Sequence[Text]) -> TokenScores:
        """See `lmserve.language_model.Reader`."""
        return mix_scores([reader.read(texts) for reader in self._readers], self._weights)


class LogLinearReader:
    """Mixes the components' whole distributions; those of networks go on from line to line."""

    def __init__(self, components: Sequence[Component], weights: Floats) -> None:
        self._component = components[0]
        self._weights = weights
        self._foreteller = Foreteller(components)

    def read(self, texts: Sequence[Text]) -> TokenScores:
        """See `lmserve.language_model.Reader`."""
        ids, starts = self._component.encode_texts(texts, eos=True)
        parts = [np.empty(0)]
        for begun, ended in pairwise(starts):
            self._foreteller.next_line()
            parts.append(log_linear_scores(self._foreteller, ids[begun:ended], self._weights))
        return TokenScores.without_ngrams(np.concatenate(parts), ids == OOV, starts)


class RememberingReader:
    """What another reader says, and what a cache of the words read before says of it."""

    def __init__(self, reader: Reader, cache: WordCache, model: LanguageModel) -> None:
        self._reader = reader
        self._cache = cache
        self._model = model
        self._recent = NOTHING_READ

    def read(self, texts: Sequence[Text]) -> TokenScores:
        """See `lmserve.language_model.Reader`."""
        scores = self._reader.read(texts)
        ids, _ = self._model.encode_texts(texts, eos=True)
        words = np.concatenate((self._recent, ids))
        recalled = self._cache.recall(words, np.array([0, len(words)]), read=len(self._recent))
        self._recent = self._cache.after(self._recent, ids)
        return replace(scores, log10_prob=self._cache.blend(scores.log10_prob, recalled))


def mix_scores(parts: Sequence[TokenScores], weights: Floats) -> TokenScores:
    """The scores of a linear mixture, from those of its components for the same texts."""
    first = parts[0]
    assert all(np.array_equal(part.oov, first.oov) for part in parts), "checked when mixed"
    mixed = combine_linear(np.stack([part.log10_prob for part in parts]), weights)
    return TokenScores.without_ngrams(mixed, first.oov, first.starts)


def log_linear_scores(foreteller: Foreteller, ids: Ids, weights: Floats) -> Floats:
    """log10 P of the next words in a log-linear mixture, float64 [N]."""
    parts = [np.empty(0)]
    for log10_probs, came in foreteller.read(ids):
        parts.append(combine_log_linear(log10_probs, weights)[np.arange(len(came)), came])
    return np.concatenate(parts)
