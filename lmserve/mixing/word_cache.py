"""A cache of the words just read: what was said is said again (Kuhn and De Mori 1990).

    P(w | h) = (kappa P_0(w | h) + sum_i a_i [w_i = w]) / (kappa + sum_i a_i)
    a_i = delta^(t - 1 - i) e^(theta m_i)

over the last M words w_i before word t, sentence ends among them. P_0 is the model's probability;
delta makes words fade (Clarkson and Robinson 1997); m_i, 0 to 2, counts how many of these words
right before w_i are, one by one, those before word t, as in a cache of trigrams (Jelinek et al.
1991). This is the mean of a Dirichlet distribution with P_0 for its prior and the strength kappa
(MacKay and Peto 1995): with nothing read it is P_0, and the more was read that is like the words
now, the less P_0 has to say.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lmserve.errors import StateError
from lmserve.mixing.combining import LN_10, Floats
from lmserve.mixing.recalling import CONTEXT, recall
from lmserve.text.special_tokens import BOS, UNK
from lmserve.text.word_table import OOV, Ids, Offsets

# More words help no more, and a repeated word costs a look at each of them.
LARGEST_WINDOW = 10_000
# What is remembered of the oldest word, so that none has the probability 0 that was read.
_LEAST_SHARE = 1e-300
# What a cache remembers where a text begins.
NOTHING_READ: Ids = np.empty(0, np.uint32)
NOTHING_READ.flags.writeable = False
_PACKED_ID = np.dtype("<u4")


class CacheSettings(BaseModel):
    """What a cache remembers, and how much it is believed.

    Attributes:
        window: words that are remembered.
        decay: delta, what is left of a word's share with every word after it.
        theta: how much more a word counts for each word before it that is alike; up to 50, so that
            its power is a number.
        strength: kappa, that of the model beside what was read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Annotated[int, Field(ge=1, le=LARGEST_WINDOW)]
    decay: Annotated[float, Field(gt=0, le=1)]
    theta: Annotated[float, Field(ge=0, le=50)]
    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the words before say of N words.

    Attributes:
        hits: float64 [N], sum_i a_i [w_i = w].
        totals: float64 [N], sum_i a_i.
    """

    hits: Floats
    totals: Floats


class WordCache:
    """A cache by its settings; what it remembers are states: the last words' ids, uint32 [<= M].

    Args:
        settings: see `CacheSettings`.
        words: V, in the vocabulary.
    """

    def __init__(self, settings: CacheSettings, words: int) -> None:
        self.settings = settings
        self._words = words
        fading = np.full(settings.window, settings.decay)
        fading[0] = 1
        self._ages = np.maximum(np.cumprod(fading), _LEAST_SHARE)
        self._gains: Floats = np.exp(settings.theta * np.arange(CONTEXT + 1))

    def after(self, state: Ids, ids: Ids) -> Ids:
        """The state after more words; `OOV` is remembered as `<unk>`."""
        return np.concatenate((state, known(ids)))[-self.settings.window :]

    def pack_state(self, state: Ids) -> bytes:
        """4 bytes a word."""
        return state.astype(_PACKED_ID).tobytes()

    def unpack_state(self, data: bytes) -> Ids:
        """The state of `pack_state`.

        Raises:
            StateError: it is none of this cache and vocabulary.
        """
        size = _PACKED_ID.itemsize
        if len(data) % size or len(data) > self.settings.window * size:
            raise StateError(
                f"a state of {len(data)} bytes, for a cache of {self.settings.window:,} words",
                "Begin the text again.",
            )
        state = np.frombuffer(data, _PACKED_ID).astype(np.uint32)
        wrong = state[(state >= self._words) | (state == BOS)]
        if len(wrong):
            raise StateError(
                f"a state with the word {wrong[0]} of {self._words:,}", "Begin the text again."
            )
        return state

    def recall(self, ids: Ids, starts: Offsets, read: int = 0) -> Recalled:
        """What each word of some texts finds among the words before it.

        Args:
            ids: uint32 [N], of all texts; `OOV` counts as `<unk>`.
            starts: int64 [B + 1], where each text begins: it knows nothing of those before.
            read: so many words of the first text, not more than it has, are only remembered.

        Returns:
            Of the N - `read` other words.
        """
        words = known(ids)
        hits, totals = np.zeros(len(words)), np.zeros(len(words))
        recall(words, _previous(words), starts, read, self._ages, self._gains, hits, totals)
        return Recalled(hits[read:], totals[read:])

    def blend(self, log10_probs: Floats, recalled: Recalled) -> Floats:
        """log10 P for log10 P_0, float64 [N]; 0 at most, however sums are rounded."""
        strength = self.settings.strength
        with np.errstate(divide="ignore"):
            said = np.log(recalled.hits)
        joint = np.logaddexp(log10_probs * LN_10 + np.log(strength), said)
        blended: Floats = (joint - np.log(strength + recalled.totals)) / LN_10
        return np.minimum(blended, 0)

    def shares(self, state: Ids) -> Floats:
        """a_i of each word remembered, float64 [<= M]."""
        alike = np.ones(len(state), np.bool_)
        counts = np.zeros(len(state), np.int64)
        for m in range(1, min(CONTEXT, len(state) - 1) + 1):
            alike[:m] = False
            alike[m:] &= state[:-m] == state[-m]
            counts += alike
        shares: Floats = self._ages[: len(state)][::-1] * self._gains[counts]
        return shares

    def recall_word(self, state: Ids, word: int) -> Recalled:
        """What the words remembered say of one that comes next, N = 1."""
        shares = self.shares(state)
        return Recalled(shares[state == word].sum(keepdims=True), shares.sum(keepdims=True))

    def recall_all(self, state: Ids) -> Recalled:
        """What they say of every word of the vocabulary, N = V."""
        shares = self.shares(state)
        hits = np.zeros(self._words)
        np.add.at(hits, state, shares)
        return Recalled(hits, np.full(1, shares.sum()))


def known(ids: Ids) -> Ids:
    """Ids with `<unk>` for words outside the vocabulary."""
    return np.where(ids == OOV, np.uint32(UNK), ids)


def _previous(ids: Ids) -> npt.NDArray[np.int64]:
    """Where each word was before, int64 [N]; -1 where it was not."""
    order = np.argsort(ids, kind="stable")
    same = ids[order[1:]] == ids[order[:-1]]
    previous = np.full(len(ids), -1, np.int64)
    previous[order[1:][same]] = order[:-1][same]
    return previous
