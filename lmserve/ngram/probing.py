"""Scoring of encoded sentences by a hash index: each n-gram is one look, whatever came before.

Of a word the longest n-gram of the model is wanted that ends with it. As all ends of an n-gram are
n-grams, too, that is found by going up from one that is there, or down from one that is not. Words
begin at the length that would have taken the fewest looks for those just before. Then the backoffs
of the longer contexts are looked up, those that were not seen on the way.

All words of a window take each step together, so that their cache misses overlap. Scores are to the
bit those of `lmserve.ngram.query`.
"""

import numpy as np
from numba import njit

from lmserve.bit_counting import popcount
from lmserve.kernels import borrowing, inlined
from lmserve.ngram.buckets import (
    SEGMENT,
    bucket_of,
    find_entry,
    low_fingerprint,
    next_bucket,
    spill_mark,
    tag,
)
from lmserve.ngram.hashes import RADIX, scattered, word_hash
from lmserve.ngram.lefts import MANY_LEFTS, Uint8s, left_byte
from lmserve.ngram.packed import Int64s
from lmserve.ngram.probe_window import Index, Window, go_on, new_window
from lmserve.ngram.window import START, Floats, fill_window
from lmserve.prefetching import prefetch
from lmserve.text.scanning import signed
from lmserve.text.special_tokens import BOS, UNK
from lmserve.text.word_table import Ids, Offsets

# What the loops count by is unsigned, as Numba looks whether signed indices are negative.
Unsigned = int | np.uint64

WINDOW = 256
# As many buckets as n-grams that find no room can be in, and more lengths than there are.
_MOST_ROUNDS = SEGMENT + 64
_ONE, _TWO, _THREE, _FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_SIX, _SEVEN = np.uint64(6), np.uint64(7)
_HALF = np.uint64(32)
# One of so many n-grams is looked for in vain above one that was found; in books, one of four.
_MOSTLY = 4
_LOW = np.uint64(0xFFFFFFFF)
# Tags are 16 bits: of each the lowest bit, and the highest; what is no tag in a bucket's last word.
_EACH, _TOP = np.uint64(0x0001000100010001), np.uint64(0x8000800080008000)
_BYTE, _MANY_LEFTS = np.uint64(0xFF), np.uint64(MANY_LEFTS)
_NO_TAGS, _NONE = np.uint64(0xFFFFFFFF00000000), np.uint64(0)


@njit(cache=True, nogil=True)
def probe_lines(
    ids: Ids, line_offsets: Offsets, bos: bool, index: Index, window: int
) -> tuple[Floats, Uint8s]:
    """Scores every word of every line; as `lmserve.ngram.query.score_lines`.

    Args:
        ids: uint32 [N], `OOV` for unknown words.
        line_offsets: int64 [L + 1]; line l is ids[line_offsets[l]:line_offsets[l + 1]].
        bos: lines begin after `<s>`, else after nothing.
        index: of the model.
        window: how many words are looked up side by side; the result does not depend on it.

    Returns:
        log10 probabilities, float64 [N]; lengths of the n-grams used, uint8 [N].
    """
    order = len(index.starts) - 1
    w = new_window(order, window + order)
    scores = np.empty(len(ids), np.float64)
    lengths = np.empty(len(ids), np.uint8)
    line, at = 0, np.int64(START)
    while True:
        n, line, at = fill_window(w.tokens, order, line_offsets, line, at)
        if n == order:
            return scores, lengths
        _look(index, w, _begin(ids, index, w, n, bos))
        _look(index, w, _ask_backoffs(index, w, n))
        _add_up(index, w, n, scores, lengths)
        go_on(w, order, n)


@borrowing
def _best_guess(lengths: Int64s, order: int) -> int:
    """The length, 2 or more, to look up first, for the fewest looks; lengths are set to 0."""
    best, best_looks = order, np.int64(-1)
    for guess in range(2, order + 1):
        looks = np.int64(0)
        for length in range(1, order + 1):
            if length >= guess:
                # Whether there is a longer one, what stands before mostly tells.
                further = 1 if length < order else 0
                looks += lengths[length] * (_MOSTLY * (length - guess + 1) + further)
            else:
                looks += lengths[length] * _MOSTLY * (guess - length + (1 if length > 1 else 0))
        if best_looks < 0 or looks < best_looks:
            best, best_looks = guess, looks
    lengths[:] = 0
    return best


@borrowing
def _begin(ids: Ids, index: Index, w: Window, n: int, bos: bool) -> int:
    """Reads a window's words, and asks for their first n-grams.

    Args:
        ids: uint32 [N].
        index: of the model.
        w: the window.
        n: slots of the window that have a word.
        bos: lines begin after `<s>`.

    Returns:
        How many n-grams it asked for.
    """
    seed, vocabulary = index.seed[0], len(index.unigrams)
    order = np.uint64(len(index.starts) - 1)
    guess = np.uint64(_best_guess(w.lengths, len(index.starts) - 1))
    pending = np.uint64(0)
    for s in range(order, np.uint64(n)):
        token = w.tokens[s]
        word = np.uint32(BOS) if token < 0 else ids[token]
        word = word if word < vocabulary else np.uint32(UNK)
        h = word_hash(word, seed)
        w.hashes[s] = w.hashes[s - _ONE] * RADIX + h
        w.unigrams[s], w.firsts[s], w.seen[s] = word, left_byte(h), _NONE
        if token < 0:
            w.low[s] = w.high[s] = w.reach[s] = _ONE if bos else _NONE
            continue
        reach = min(np.uint64(w.reach[s - _ONE]) + _ONE, order)
        w.low[s], w.high[s], w.reach[s] = _ONE, reach, reach
        if reach > _ONE:
            _ask(index, w, pending, s, min(guess, reach))
            pending += _ONE
    return signed(pending)


@inlined
def _ask(index: Index, w: Window, p: Unsigned, s: Unsigned, k: Unsigned) -> None:
    """Makes the k-gram that ends in slot s the p-th to be looked up, and asks for its bucket."""
    h = scattered(w.hashes[s] - w.hashes[s - k] * index.powers[k])
    bucket = index.starts[k] + (bucket_of(h, index.buckets[k]) << _THREE)
    w.slots[p], w.levels[p], w.scattered[p], w.buckets[p] = s, k, h, bucket
    prefetch(index.slots, bucket)


@borrowing
def _look(index: Index, w: Window, asked: int) -> None:
    """Looks up what was asked for, and what this leads to, until there is nothing more.

    Almost without branches, as whether something will be found is not to be foretold.
    """
    order, size = np.uint64(len(index.starts) - 1), np.uint64(len(w.tokens))
    slots = index.slots
    pending = np.uint64(asked)
    for _ in range(_MOST_ROUNDS):
        if pending == _NONE:
            return
        left = np.uint64(0)
        for p in range(pending):
            s, k = np.uint64(w.slots[p]), np.uint64(w.levels[p])
            h, bucket = w.scattered[p], w.buckets[p]
            # All tags of a word are compared at once; the lowest bit that is left tells the first.
            tags = tag(h) * _EACH
            first, second = slots[bucket + _SIX] ^ tags, slots[bucket + _SEVEN] ^ tags | _NO_TAGS
            first = (first - _EACH) & ~first & _TOP
            second = (second - _EACH) & ~second & (_TOP if k == order else _NONE)
            some = second if first == _NONE else first
            entry = np.uint64(popcount((some & (~some + _ONE)) - _ONE)) >> _FOUR
            entry = (entry & _THREE) + (_FOUR if first == _NONE else _NONE)
            found = some != _NONE
            if found & (slots[bucket + entry] >> _HALF != low_fingerprint(h)):
                # Another n-gram's tag is the same: one of some thousands.
                same = find_entry(slots, bucket, h, k == order)
                found = same >= 0
                entry = np.uint64(max(same, 0))
            further = (not found) & (slots[bucket + _SEVEN] & spill_mark(h) != _NONE)
            # Of what was not found nobody reads these.
            at = k * size + s
            w.prob[at] = np.uint32(slots[bucket + entry] & _LOW).view(np.float32)
            backoffs = slots[bucket + _FOUR + ((entry >> _ONE) & _ONE)]
            backoffs >>= _HALF * (entry & _ONE)
            w.backoff[at] = np.uint32(backoffs & _LOW).view(np.float32)
            w.seen[s] |= np.uint64(found) << k
            low, high = np.uint64(w.low[s]), np.uint64(w.high[s])
            low = max(low, k) if found else low
            # A longer one has one of the words that stand before this one.
            before = (slots[bucket + _SEVEN] >> (entry << _THREE)) & _BYTE
            ends = found & (before != _MANY_LEFTS) & (before != np.uint64(w.firsts[s - k]))
            high = k if ends else (high if found | further else k - _ONE)
            # The first words of an n-gram are one that ends a word before.
            high = min(high, np.uint64(w.high[s - _ONE]) + _ONE)
            w.low[s], w.high[s] = low, high
            following = max(min(k + _ONE, order) if found else high, _TWO)
            following = k if further else following
            wanted = further | (low < high)
            start, buckets = index.starts[following], index.buckets[following]
            h_next = scattered(w.hashes[s] - w.hashes[s - following] * index.powers[following])
            here = (bucket - start) >> _THREE
            there = next_bucket(here, buckets) if further else bucket_of(h_next, buckets)
            target = start + (there << _THREE)
            w.slots[left], w.levels[left] = s, following
            w.scattered[left], w.buckets[left] = h_next, target
            prefetch(slots, target if wanted else bucket)
            left += np.uint64(wanted)
        pending = left


@borrowing
def _ask_backoffs(index: Index, w: Window, n: int) -> int:
    """Asks for contexts whose backoffs are wanted and were not seen; how many."""
    order = np.uint64(len(index.starts) - 1)
    pending = np.uint64(0)
    for s in range(order, np.uint64(n)):
        if w.tokens[s] < 0:
            continue
        low, context = np.uint64(w.low[s]), min(np.uint64(w.low[s - _ONE]), order - _ONE)
        if low == _ONE:
            prefetch(index.unigrams, w.unigrams[s])
            prefetch(index.unigrams, w.unigrams[s - _ONE])
            low = _TWO
        # Bits low .. context, which are none where the context is shorter.
        unseen = (_TWO << context) - (_ONE << low) if low <= context else _NONE
        unseen &= ~w.seen[s - _ONE]
        while unseen != _NONE:
            k = np.uint64(popcount((unseen & (~unseen + _ONE)) - _ONE))
            unseen &= unseen - _ONE
            _ask(index, w, pending, s - _ONE, k)
            pending += _ONE
    return signed(pending)


@borrowing
def _add_up(index: Index, w: Window, n: int, scores: Floats, lengths: Uint8s) -> None:
    """Probability of the longest n-gram, and the backoffs of the longer contexts."""
    order, size = np.uint64(len(index.starts) - 1), np.uint64(len(w.tokens))
    for s in range(order, np.uint64(n)):
        token = w.tokens[s]
        if token < 0:
            continue
        length, context = np.uint64(w.low[s]), min(np.uint64(w.low[s - _ONE]), order - _ONE)
        if length > _ONE:
            score = np.float64(w.prob[length * size + s])
        else:
            score = np.float64(np.uint32(index.unigrams[w.unigrams[s]] & _LOW).view(np.float32))
            if context > _NONE:
                backoffs = index.unigrams[w.unigrams[s - _ONE]]
                score += np.uint32(backoffs >> _HALF).view(np.float32)
        for k in range(max(length, _TWO), context + _ONE):
            score += w.backoff[k * size + s - _ONE]
        scores[token] = score
        lengths[token] = length
        w.lengths[length] += 1
