"""Reading a text by a mixture, from line to line."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lmserve.language_model import Reader
from lmserve.mixing.combining import Floats, combine_linear, combine_log_linear
from lmserve.mixing.components import Component
from lmserve.mixing.foretelling import Foreteller
from lmserve.ngram.texts import join_lines
from lmserve.scorer import Text, TokenScores
from lmserve.text.batching import line_offsets
from lmserve.text.word_table import OOV, Ids, Offsets


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
        ids, starts = encode(self._component, texts, eos=True)
        parts = [np.empty(0)]
        for begun, ended in pairwise(starts):
            self._foreteller.next_line()
            parts.append(log_linear_scores(self._foreteller, ids[begun:ended], self._weights))
        return token_scores(np.concatenate(parts), ids, starts)


def mix_scores(parts: Sequence[TokenScores], weights: Floats) -> TokenScores:
    """The scores of a linear mixture, from those of its components for the same texts."""
    first = parts[0]
    assert all(np.array_equal(part.oov, first.oov) for part in parts), "checked when mixed"
    return TokenScores(
        log10_prob=combine_linear(np.stack([part.log10_prob for part in parts]), weights),
        ngram_length=np.zeros(len(first.oov), np.uint8),
        oov=first.oov,
        starts=first.starts,
    )


def log_linear_scores(foreteller: Foreteller, ids: Ids, weights: Floats) -> Floats:
    """log10 P of the next words in a log-linear mixture, float64 [N]."""
    parts = [np.empty(0)]
    for log10_probs, came in foreteller.read(ids):
        parts.append(combine_log_linear(log10_probs, weights)[np.arange(len(came)), came])
    return np.concatenate(parts)


def encode(component: Component, texts: Sequence[Text], *, eos: bool) -> tuple[Ids, Offsets]:
    """Ids of the tokens of every text, uint32 [N], and where each text's begin, int64 [B + 1]."""
    data = np.frombuffer(component.segment(join_lines(texts)), np.uint8)
    offsets = line_offsets(data)
    return component.vocabulary.encode_texts(data, offsets, component.special_tokens, eos=eos)


def token_scores(log10_prob: Floats, ids: Ids, starts: Offsets) -> TokenScores:
    """Scores of a model that is not made of n-grams."""
    return TokenScores(
        log10_prob=log10_prob,
        ngram_length=np.zeros(len(ids), np.uint8),
        oov=ids == OOV,
        starts=starts,
    )
