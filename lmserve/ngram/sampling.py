"""Drawing sentences from a model, exactly by its probabilities and the same on every machine.

Random numbers come from SplitMix64, a stream for each sentence; powers of ten are made of sums and
products alone. Both are the same on any processor, which library functions need not be.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.foretelling import score_all
from lmserve.ngram.packed import Int64s, Tables
from lmserve.ngram.stepping import step
from lmserve.text.special_tokens import EOS, UNK

Floats = npt.NDArray[np.float64]

_LOG2_10 = 3.321928094887362
_LOG_2 = 0.6931471805599453
# Enough of the exponential's series for float64 and arguments below log 2.
_TERMS = 18


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def uniform(state: npt.NDArray[np.uint64]) -> float:
    """The next number in [0, 1) of the SplitMix64 stream whose state, uint64 [1], this moves on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def sample_words(
    tables: Tables, rows: Int64s, state: npt.NDArray[np.uint64], max_words: int
) -> Int64s:
    """Draws words until the sentence ends or has `max_words`: int64 [<= max_words], without `</s>`.

    `<unk>` is no word to say: it is never drawn, and the others share its probability.

    Args:
        tables: the model.
        rows: int64 [K], of the context to go on from, see `step`.
        state: uint64 [1], of `uniform`.
        max_words: at least 0.
    """
    words = np.empty(max_words, np.int64)
    for i in range(max_words):
        sums = score_all(tables, rows)
        total = 0.0
        for word in range(len(sums)):
            if word != UNK:
                total += power_of_10(sums[word])
            sums[word] = total
        drawn = np.int64(np.searchsorted(sums, uniform(state) * total, side="right"))
        # Where all probabilities are 0 there is nothing to say.
        if total == 0.0 or drawn >= len(sums) or drawn == EOS:
            return words[:i]
        words[i] = drawn
        _, _, rows = step(tables, rows, drawn)
    return words


def sample_sentences(
    tables: Tables, rows: Int64s, n: int, seed: int, max_words: int
) -> Iterator[Int64s]:
    """Yields the word ids of `n` sentences, each from a stream of its own; see `sample_words`."""
    for i in range(n):
        # Far apart in the one long sequence of all numbers.
        state = np.array([(seed * 0x9E3779B97F4A7C15 + (i << 40)) % 2**64], np.uint64)
        yield sample_words(tables, rows, state, max_words)
