"""What `lmserve.ngram.probing` works on: the index of a model, and a window of words."""

from typing import NamedTuple

import numpy as np
from numba import njit

from lmserve.kernels import borrowing
from lmserve.ngram.lefts import Uint8s
from lmserve.ngram.packed import Float32s, Int64s
from lmserve.ngram.packing import Uint32s, Uint64s
from lmserve.text.word_table import Ids

# The contexts whose backoffs a word has seen are bits of a word.
MAX_ORDER = 63


class Index(NamedTuple):
    """A hash index as kernels see it; V words, order n.

    Attributes:
        seed: uint64 [1], of the words' hashes.
        powers: uint64 [n + 1], see `lmserve.ngram.hashes`.
        unigrams: uint64 [V], the bits of log10 backoffs above those of log10 P.
        slots: uint64, the buckets of levels 2 .. n.
        starts: uint64 [n + 1], where level k's begin in `slots`.
        buckets: uint64 [n + 1], how many level k has.
    """

    seed: Uint64s
    powers: Uint64s
    unigrams: Uint64s
    slots: Uint64s
    starts: Uint64s
    buckets: Uint64s


class Window(NamedTuple):
    """Some words in a row, after n slots of what came before: S slots in all.

    Attributes:
        tokens: int64 [S], indices into the words to be scored, or `START`.
        hashes: uint64 [S], of all text up to here.
        low: uint8 [S], the longest n-gram known to end here; in the end the longest.
        high: uint8 [S], the longest that may.
        reach: uint8 [S], words since the line began, this one among them, at most n.
        unigrams: uint32 [S], the words.
        firsts: uint8 [S], their bytes (`lmserve.ngram.lefts`).
        prob: float32 [(n + 1) S], log10 P of the k-gram at k S + s;
        backoff: float32 [(n + 1) S], the log10 backoff, in the same way; that they are is told by
        seen: uint64 [S], bit k.
        slots: uint32 [n S], and
        levels: uint8 [n S]: n-grams to be looked up, by where they end and their length;
        scattered: uint64 [n S], their scattered hashes;
        buckets: uint64 [n S], where in the index the buckets begin in which to look for them.
        lengths: int64 [n + 1], how many words of the last window had n-grams of each length.
    """

    tokens: Int64s
    hashes: Uint64s
    low: Uint8s
    high: Uint8s
    reach: Uint8s
    unigrams: Ids
    firsts: Uint8s
    prob: Float32s
    backoff: Float32s
    seen: Uint64s
    slots: Uint32s
    levels: Uint8s
    scattered: Uint64s
    buckets: Uint64s
    lengths: Int64s


@njit(cache=True, nogil=True)
def new_window(order: int, size: int) -> Window:
    """A window of S slots, after no words yet."""
    return Window(
        tokens=np.zeros(size, np.int64),
        hashes=np.zeros(size, np.uint64),
        low=np.zeros(size, np.uint8),
        high=np.zeros(size, np.uint8),
        reach=np.zeros(size, np.uint8),
        unigrams=np.zeros(size, np.uint32),
        firsts=np.zeros(size, np.uint8),
        prob=np.zeros((order + 1) * size, np.float32),
        backoff=np.zeros((order + 1) * size, np.float32),
        seen=np.zeros(size, np.uint64),
        slots=np.empty(order * size, np.uint32),
        levels=np.empty(order * size, np.uint8),
        scattered=np.empty(order * size, np.uint64),
        buckets=np.empty(order * size, np.uint64),
        lengths=np.zeros(order + 1, np.int64),
    )


@borrowing
def go_on(w: Window, order: int, n: int) -> None:
    """Keeps the last n slots of a window, and makes them the first of the next.

    Args:
        w: the window.
        order: n.
        n: slots that had words.
    """
    size = len(w.tokens)
    for i in range(order):
        last = n - order + i
        w.tokens[i], w.hashes[i], w.unigrams[i] = w.tokens[last], w.hashes[last], w.unigrams[last]
        w.low[i], w.high[i], w.reach[i] = w.low[last], w.high[last], w.reach[last]
        w.seen[i], w.firsts[i] = w.seen[last], w.firsts[last]
        for k in range(2, order):
            w.backoff[k * size + i] = w.backoff[k * size + last]
