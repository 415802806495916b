"""Drawing a word by its probability, the same on every machine that sees the same probabilities.

Random numbers come from SplitMix64, a stream for each sentence; powers of ten are made of sums and
products alone. Both are the same on any processor, which library functions need not be.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.errors import OptionError
from lmserve.kernels import borrowing
from lmserve.ngram.foretelling import best
from lmserve.text.special_tokens import EOS

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
# uint64 [1]: the state of one stream of random numbers.
Stream = npt.NDArray[np.uint64]

_LOG2_10 = 3.321928094887362
_LOG_2 = 0.6931471805599453
# Enough of the exponential's series for float64 and arguments below log 2.
_TERMS = 18
# A nucleus is looked for among so many of the best words first, then among more.
_NUCLEUS = 256


class Drawn(NamedTuple):
    """A word that was drawn.

    Attributes:
        word_id: its id in the vocabulary; `EOS` for the sentence's end.
        log10_prob: log10 P(word | the words before it), whatever the options make of it.
        scores: log10 P of every word in its place, float64 [V].
    """

    word_id: int
    log10_prob: float
    scores: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """How words are drawn from a model's distribution: temperature, then top k, then top p.

    Attributes:
        temperature: probabilities are raised to the power of 1 / temperature and sum to 1 again;
            1 leaves them as they are, 0 takes the most probable word.
        top_k: only so many of the most probable words are drawn from; None means all.
        top_p: of these, only the most probable ones that have this share of the probability
            together, one at least; 1 means all.
        seed: any integer; another one, other words.

    Raises:
        OptionError: a value outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise OptionError(f"temperature is {self.temperature}", "Give 0 or more, such as 0.8.")
        if self.top_k is not None and self.top_k < 1:
            raise OptionError(f"top_k is {self.top_k}", "Give 1 word or more.")
        if not 0 <= self.top_p <= 1:
            raise OptionError(f"top_p is {self.top_p}", "Give a share from 0 to 1.")

    def stream(self, index: int) -> Stream:
        """The random numbers of one of the sentences that are drawn with this seed."""
        # Far apart in the one long sequence of all numbers.
        return np.array([(self.seed * 0x9E3779B97F4A7C15 + (index << 40)) % 2**64], np.uint64)


def choose(scores: Floats, options: SamplingOptions, stream: Stream) -> int:
    """The id of the word that is drawn; `</s>` where every word is impossible.

    `<unk>` and `<s>` are no words to say: they are never drawn, the others share their probability.

    Args:
        scores: log10 P of every word of the vocabulary, float64 [V].
        options: how to draw; its seed is not used here.
        stream: moved on by one number, unless the temperature is 0.
    """
    # The words that cannot be said have the first two ids.
    sayable = scores[EOS:]
    if options.temperature == 0:
        return EOS + int(np.argmax(sayable))
    kept, weights = truncate(sayable, options)
    sums = np.cumsum(weights)
    drawn = int(np.searchsorted(sums, uniform(stream) * sums[-1], side="right"))
    return EOS + int(kept[drawn]) if drawn < len(kept) else EOS


def truncate(scores: Floats, options: SamplingOptions) -> tuple[Int64s, Floats]:
    """The words that are drawn from.

    Args:
        scores: log10 P, float64 [V], up to one constant.
        options: temperature, above 0, and what is kept.

    Returns:
        Their ascending indices, int64 [K]; to what their probabilities are proportional,
        float64 [K].
    """
    every = np.arange(len(scores))
    kept = every if options.top_k is None else np.sort(best(scores, options.top_k))
    weights = relative(scores[kept], options.temperature)
    if options.top_p < 1:
        nucleus = _nucleus(weights, options.top_p)
        kept, weights = kept[nucleus], weights[nucleus]
    return kept, weights


def _nucleus(weights: Floats, share: float) -> Int64s:
    """The fewest indices whose weights have this share of the sum, ascending."""
    enough = share * np.cumsum(weights)[-1]
    count = _NUCLEUS
    while True:
        order = best(weights, count)
        sums = np.cumsum(weights[order])
        if sums[-1] >= enough or len(order) == len(weights):
            return np.sort(order[: 1 + int(np.searchsorted(sums, enough))])
        count *= 8


@njit(cache=True, nogil=True)
def relative(scores: Floats, temperature: float) -> Floats:
    """(P / max P)^(1 / temperature) of log10 P, float64 [N]; nothing but 0 where all P are 0."""
    most = -np.inf
    for score in scores:
        most = max(most, score)
    weights = np.zeros(len(scores))
    if most > -np.inf:
        for i in range(len(scores)):
            weights[i] = power_of_10((scores[i] - most) / temperature)
    return weights


@borrowing
def power_of_10(exponent: float) -> float:
    """10^exponent for exponents of at most 0, to a few units in the last place."""
    if exponent < -300.0:
        return 0.0
    twos = exponent * _LOG2_10
    whole = math.floor(twos)
    rest = (twos - whole) * _LOG_2
    value = 1.0
    for term in range(_TERMS, 0, -1):
        value = 1.0 + value * rest / term
    return math.ldexp(value, int(whole))


@borrowing
def uniform(stream: Stream) -> float:
    """The next number in [0, 1) of a SplitMix64 stream, which this moves on."""
    stream[0] += np.uint64(0x9E3779B97F4A7C15)
    z = stream[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53
