"""What comes next, of all words at once, as every component of a mixture sees it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lmserve.mixing.combining import Floats
from lmserve.mixing.components import Component
from lmserve.ngram.foretelling import score_all
from lmserve.ngram.model import NgramModel
from lmserve.ngram.states import State
from lmserve.ngram.stepping import step
from lmserve.text.special_tokens import UNK
from lmserve.text.word_table import OOV, Ids

# Numbers of one component's block of distributions: 16 MB.
_BLOCK_NUMBERS = 2 << 20


class Foreteller:
    """Components in the middle of a text.

    The cost of a word is that of V numbers from every component: from an n-gram model some
    microseconds for each thousand words of the vocabulary, from a network its output layer.

    Args:
        components: K models over the same words.
        bos: begin at the start of a sentence; otherwise after nothing at all.
    """

    def __init__(self, components: Sequence[Component], *, bos: bool = True) -> None:
        self._components = components
        self._states: list[Any] = [
            model.begin_state() if bos else model.null_state() for model in components
        ]
        self._block = max(1, _BLOCK_NUMBERS // len(components[0].vocabulary))

    def next_line(self) -> None:
        """Begins another line of the same text: n-gram models forget, networks do not."""
        self._states = [
            model.next_sentence(state)
            for model, state in zip(self._components, self._states, strict=True)
        ]

    def read(self, ids: Ids) -> Iterator[tuple[Floats, Ids]]:
        """What each component says before each of the next words.

        Args:
            ids: uint32 [N]; `OOV` counts as `<unk>`.

        Yields:
            Block by block, log10 P of every word, float64 [K, T, V], and the words that came, [T].
        """
        words = np.where(ids == OOV, np.uint32(UNK), ids)
        for start in range(0, len(words), self._block):
            part = words[start : start + self._block]
            told = list(map(_foretell, self._components, self._states, [part] * len(self._states)))
            self._states = [state for _, state in told]
            yield np.stack([scores for scores, _ in told]), part


def _foretell(component: Component, state: Any, ids: Ids) -> tuple[Floats, Any]:
    """log10 P, float64 [T, V], before each of T words; the state after them."""
    if not isinstance(component, NgramModel):
        # Only who has a recurrent model has torch.
        from lmserve.rnn.foretelling import foretell
        from lmserve.rnn.scoring import RecurrentModel

        assert isinstance(component, RecurrentModel)
        return foretell(component, state, ids)
    rows = state.as_array()
    scores = np.empty((len(ids), len(component.vocabulary)))
    for t, word in enumerate(ids.tolist()):
        scores[t] = score_all(component.tables, rows)
        *_, rows = step(component.tables, rows, word)
    return scores, State(tuple(rows.tolist()))
