"""Sharding: which records are counted together.

A shard holds the records whose nearest context word lies in a range of ids, so that everything that
is summed over the words before or after a context is summed inside one shard. How many records a
word has is known before anything moves: it precedes as many tokens as it occurs. A word with more
than a shard may hold is *split*: its records go to shards by the word before it, and a word that is
too frequent there by the one before that. Where no context word is left (it began with `<s>`, or
has all its n - 1 words) the token itself decides.

What shards of one split context have in common, the list of the words after it, is added up
afterwards, just as the list of the empty context, the unigrams, is.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.kernels import borrowing
from lmserve.text.special_tokens import BOS, EOS
from lmserve.text.word_table import Ids

# The nearest words of a context, the nearest first.
Prefix = tuple[int, ...]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shard:
    """The records that begin with `prefix` and go on with an id from `first` up to `end`.

    Attributes:
        prefix: context words, the nearest first; empty where nothing was split.
        first: the first id.
        end: the id after the last.
        records: how many.
    """

    prefix: Prefix
    first: int
    end: int
    records: int


@dataclass(frozen=True, slots=True)
class Sharding:
    """All shards, in the order of their records.

    Attributes:
        order: n.
        shards: by rising keys.
    """

    order: int
    shards: tuple[Shard, ...]

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def numbers(self) -> range:
        """The shards' numbers."""
        return range(len(self.shards))

    @property
    def split(self) -> list[Prefix]:
        """The contexts whose lists several shards share, short ones first; the empty one always."""
        inner = {s.prefix[:depth] for s in self.shards for depth in range(len(s.prefix) + 1)}
        return sorted(inner | {()}, key=lambda prefix: (len(prefix), prefix))

    def by_token(self, prefix: Prefix) -> bool:
        """Whether the shards of a split context divide its tokens, not what precedes it."""
        return ends(prefix, self.order)

    def in_order(self) -> list[int | Prefix]:
        """Shards, by number, and split contexts, each before its shards: the order of contexts."""
        keyed = [((*s.prefix, s.first), i) for i, s in enumerate(self.shards)]
        merged: list[tuple[Prefix, int | Prefix]] = [*keyed, *((p, p) for p in self.split if p)]
        return [what for _, what in sorted(merged, key=lambda item: (item[0], item[1] != item[0]))]

    def routes(self, vocabulary_size: int) -> npt.NDArray[np.uint32]:
        """How a record finds its shard.

        Returns:
            uint32 [T, V]: by the first word of the key, an entry of row 0 names a shard, or, from
            the number of shards on, the row in which to look up the next word.
        """
        prefixes = self.split
        routes = np.zeros((len(prefixes), vocabulary_size), np.uint32)
        for row, prefix in enumerate(prefixes[1:], 1):
            routes[prefixes.index(prefix[:-1]), prefix[-1]] = len(self.shards) + row
        for number, shard in enumerate(self.shards):
            row = prefixes.index(shard.prefix)
            free = routes[row, shard.first : shard.end] < len(self.shards)
            routes[row, shard.first : shard.end][free] = number
        return routes


def ends(prefix: Prefix, order: int) -> bool:
    """Whether no word can stand before a context: it begins with `<s>`, or is as long as any."""
    return len(prefix) == order - 1 or (len(prefix) > 0 and prefix[-1] == BOS)


def plan_shards(
    word_counts: Int64s,
    order: int,
    *,
    minimum: int,
    records_per_shard: int,
    count: Callable[[Sequence[Prefix]], Mapping[Prefix, Int64s]],
) -> Sharding:
    """Cuts the records into shards of about equal size, none above the limit if that can be.

    Args:
        word_counts: int64 [V], occurrences of each word; of `<s>`, sentences.
        order: n, at least 2.
        minimum: shards to make at least, where there are words enough.
        records_per_shard: the most that one may hold; only records that are all equal, more of
            them than that, stay together.
        count: given contexts, counts what their records go on with: int64 [V] for each.
    """
    followed = word_counts.copy()
    followed[EOS] = 0
    target = min(records_per_shard, -(-int(followed.sum()) // minimum))
    shards: list[Shard] = []
    pending: dict[Prefix, Int64s] = {(): followed}
    while pending:
        heavy: list[Prefix] = []
        for prefix, counts in pending.items():
            found, too_many = _cut(prefix, counts, target, records_per_shard)
            if ends(prefix, order):
                found += [Shard(prefix, w, w + 1, int(counts[w])) for w in too_many]
            else:
                heavy += [(*prefix, word) for word in too_many]
            shards += found
        pending = dict(count(heavy)) if heavy else {}
    return Sharding(order, tuple(sorted(shards, key=lambda s: (*s.prefix, s.first))))


def _cut(prefix: Prefix, counts: Int64s, target: int, limit: int) -> tuple[list[Shard], list[int]]:
    """Ranges of ids with at most about `target` records, and the ids with more than `limit`."""
    heavy = [int(word) for word in np.flatnonzero(counts > limit)]
    shards = []
    for first, end in zip([0, *(w + 1 for w in heavy)], [*heavy, len(counts)], strict=True):
        sums = np.cumsum(counts[first:end])
        if len(sums) == 0 or (sums[-1] == 0 and prefix):
            continue
        cuts = [first, *(first + _cut_points(sums, target)), end]
        for begin, stop in itertools.pairwise(cuts):
            shards.append(Shard(prefix, int(begin), int(stop), int(counts[begin:stop].sum())))
    return shards, heavy


def plan_buckets(word_counts: Int64s, rows: int, rows_per_bucket: int) -> Int64s:
    """Cuts the n-grams by their first words into buckets of about equal size.

    Args:
        word_counts: int64 [V]; about as many n-grams begin with a word as it occurs.
        rows: n-grams in all.
        rows_per_bucket: about how many in one.

    Returns:
        int64 [B + 1], ids of first words, from 0 to V.
    """
    total = max(int(word_counts.sum()), 1)
    target = max(total * rows_per_bucket // max(rows, 1), 1)
    cuts = _cut_points(np.cumsum(word_counts), target)
    return np.array([0, *cuts, len(word_counts)], np.int64)


@njit(cache=True, nogil=True)
def _cut_points(sums: Int64s, target: int) -> Int64s:
    """Where to cut so that no part but single ids exceeds the target: int64."""
    cuts = np.empty(len(sums), np.int64)
    n = 0
    before = 0
    for i in range(1, len(sums)):
        if sums[i] - before > target and sums[i - 1] > before:
            before = sums[i - 1]
            cuts[n] = i
            n += 1
    return cuts[:n].copy()


@borrowing
def find_shard(history: Ids, token: int, routes: npt.NDArray[np.uint32], shards: int) -> int:
    """The shard of a record.

    Args:
        history: uint32 [n - 1], see `next_key`.
        token: the token.
        routes: from `Sharding.routes`.
        shards: their number.
    """
    route = routes[0, history[0]]
    j = 1
    while route >= shards:
        route = routes[route - shards, next_key(history, token, j)]
        j += 1
    return int(route)


def survey(tokens: Ids, order: int, prefixes: Sequence[Prefix], counts: Int64s) -> None:
    """Adds up what the records of given contexts go on with.

    Args:
        tokens: uint32 [N], each sentence ended by `EOS`.
        order: n.
        prefixes: P contexts, none the beginning of another.
        counts: int64 [P, V], added to.
    """
    nodes = sorted({prefix[:depth] for prefix in prefixes for depth in range(len(prefix) + 1)})
    trie = np.zeros((len(nodes), counts.shape[1]), np.uint32)
    for node in nodes[1:]:
        trie[nodes.index(node[:-1]), node[-1]] = nodes.index(node)
    targets = np.array([prefixes.index(n) if n in prefixes else -1 for n in nodes], np.int64)
    _survey(tokens, order, trie, targets, counts)


@njit(cache=True, nogil=True)
def _survey(
    tokens: Ids, order: int, trie: npt.NDArray[np.uint32], targets: Int64s, counts: Int64s
) -> None:
    history = np.full(order - 1, BOS, np.uint32)
    for token in tokens:
        node = np.int64(trie[0, history[0]])
        j = 1
        while node > 0:
            word = next_key(history, token, j)
            if targets[node] >= 0:
                counts[targets[node], word] += 1
                break
            node = np.int64(trie[node, word])
            j += 1
        push(history, token)


@borrowing
def next_key(history: Ids, token: int, j: int) -> int:
    """What follows j words of a record's key: the word before them, or the token if there is none.

    Args:
        history: uint32 [n - 1], the words before the token, the nearest first; `BOS` from the
            sentence's start on.
        token: the token.
        j: 1 or more.
    """
    return int(history[j]) if j < len(history) and history[j - 1] != BOS else int(token)


@borrowing
def push(history: Ids, token: int) -> None:
    """Makes `history` that of the token after this one."""
    if token == EOS:
        history[:] = BOS
        return
    for j in range(len(history) - 1, 0, -1):
        history[j] = history[j - 1]
    history[0] = token
