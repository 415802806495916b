"""Records: every token with the words before it, packed so that sorting them sorts the contexts.

A record of order n is n word ids, from the nearest word of the context outward, then the token:
`context_1, context_2, ..., context_{n-1}, word`. Ids of `word_bits` bits lie side by side in 64-bit
columns, the last one of a column in its lowest bits, and none straddles two columns: comparing
records column by column compares them word by word. Before a sentence's `<s>` there is nothing,
written as more `<s>`: no word precedes it, so a context ends at its first one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.ngram.sharding import find_shard
from lmserve.text.special_tokens import BOS, EOS
from lmserve.text.word_table import Ids, Offsets

Records = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """How the words of a record lie in its columns.

    Attributes:
        order: n, at least 2.
        vocabulary_size: V, at most 2^32.
    """

    order: int
    vocabulary_size: int

    @property
    def word_bits(self) -> int:
        """Bits of one word."""
        return max((self.vocabulary_size - 1).bit_length(), 1)

    @property
    def words_per_column(self) -> int:
        """Words in one 64-bit column."""
        return 64 // self.word_bits

    @property
    def columns(self) -> int:
        """64-bit columns of one record."""
        return -(-self.order // self.words_per_column)

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """int64 [n, 2]: the column of each word, and the bits below it."""
        column, place = np.divmod(np.arange(self.order), self.words_per_column)
        return np.stack([column, self.word_bits * (self.words_per_column - 1 - place)], 1)


def partition(
    tokens: Ids, layout: RecordLayout, routes: npt.NDArray[np.uint32], shards: int
) -> tuple[Offsets, Records]:
    """Records of complete sentences, grouped by shard and else in the order of the text.

    Args:
        tokens: uint32 [N], each sentence ended by `EOS`.
        layout: of the records.
        routes: uint32 [T, V], see `lmserve.ngram.sharding.Shards.routes`.
        shards: S.

    Returns:
        starts, int64 [S + 1], the rows of each shard; records, uint64 [N, columns].
    """
    starts, records = _partition(
        tokens, layout.places, layout.columns, layout.word_bits, routes, shards
    )
    return starts, records


@njit(cache=True, nogil=True)
def _partition(
    tokens: Ids,
    places: Offsets,
    columns: int,
    word_bits: int,
    routes: npt.NDArray[np.uint32],
    shards: int,
) -> tuple[Offsets, Records]:
    order = len(places)
    shard_of = np.empty(len(tokens), np.uint32)
    starts = np.zeros(shards + 1, np.int64)
    history = np.empty(order - 1, np.uint32)
    sentence = 0
    previous = np.uint32(BOS)
    for i in range(len(tokens)):
        shard = routes[0, previous]
        if shard >= shards:
            for j in range(order - 1):
                history[j] = tokens[i - 1 - j] if i - j > sentence else np.uint32(BOS)
            shard = find_shard(history, tokens[i], routes, shards)
        shard_of[i] = shard
        starts[shard + 1] += 1
        previous = tokens[i]
        if previous == EOS:
            sentence = i + 1
            previous = np.uint32(BOS)
    for s in range(shards):
        starts[s + 1] += starts[s]

    records = np.empty((len(tokens), columns), np.uint64)
    cursors = starts[:-1].copy()
    bits = np.uint64(word_bits)
    last_column, last_shift = places[-1, 0], np.uint64(places[-1, 1])
    top_shift = np.uint64(places[0, 1])
    # The columns of the context; the place of the token, and what lies beyond it, stays zero.
    beginning = np.zeros(columns, np.uint64)
    for j in range(order - 1):
        beginning[places[j, 0]] |= np.uint64(BOS) << np.uint64(places[j, 1])
    low_shift = np.uint64(places[min(len(places), 64 // word_bits) - 1, 1])
    used = (np.uint64(1) << bits) - np.uint64(1)
    keep = ~((np.uint64(1) << (last_shift + bits)) - np.uint64(1))
    if last_shift + bits == np.uint64(64):
        keep = np.uint64(0)
    context = beginning.copy()
    for i in range(len(tokens)):
        token = np.uint64(tokens[i])
        row = cursors[shard_of[i]]
        cursors[shard_of[i]] += 1
        for c in range(columns):
            records[row, c] = context[c]
        records[row, last_column] |= token << last_shift
        if token == EOS:
            for c in range(columns):
                context[c] = beginning[c]
        else:
            # Every word moves one place outward; the last of a column moves on to the next.
            for c in range(columns - 1, 0, -1):
                carried = (context[c - 1] >> low_shift) & used
                context[c] = (context[c] >> bits) | (carried << top_shift)
            context[0] = (context[0] >> bits) | (token << top_shift)
            context[last_column] &= keep
    return starts, records
