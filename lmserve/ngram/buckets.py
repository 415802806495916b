"""Buckets: a line of a processor's cache, 64 bytes, in which a few n-grams of a level stand.

An n-gram's bucket is that of the highest 32 bits of its scattered hash; its lowest 48 bits, the
fingerprint, tell it from the others there. Where more n-grams belong into a bucket than it takes,
they are in the next ones that have room, and the bucket says so. Which is next goes around in a
segment of buckets, so that segments are filled independently.

The eight words of a bucket:

- below the model's highest level: 4 n-grams. Word i holds the lowest 32 bits of fingerprint i,
  which are never 0, above the bits of log10 P as float32; words 4 and 5 those of four log10
  backoffs; the lowest 32 bits of word 7 a byte each, of what stands before them in longer n-grams
  (`lmserve.ngram.lefts`);
- in the highest level: 6 n-grams, words 0 .. 5 as above;
- in both: from word 6 on, 16 bits each, the other bits of the fingerprints, their tags; the highest
  32 bits of word 7 are marks, one set by each n-gram that found no room here. Which one, its hash
  tells: so of those that are not there few are looked for in a second bucket.

Of an n-gram the bucket and 48 bits are compared. So in a level of N n-grams one that is not there
is found with the probability N / 2^64, from 65,536 buckets on, and 4 / 2^48 at most where there are
fewer. Those that are there differ from each other, which is checked (`fill`).
"""

import numpy as np
from numba import njit

from lmserve.kernels import borrowing, inlined
from lmserve.ngram.hashes import scattered
from lmserve.ngram.lefts import Uint8s
from lmserve.ngram.packed import Int, Int64s
from lmserve.ngram.packing import Uint64s

BUCKET_WORDS = 8
LOWER_ENTRIES, LAST_ENTRIES = 4, 6
# Buckets among which n-grams without room go around.
SEGMENT = 1 << 16
# Of all places, how many are taken: fewer cost memory, more cost looks into a second bucket.
_LOAD = 0.65

_LOW = np.uint64(0xFFFFFFFF)
_TAG = np.uint64(0xFFFF)


def bucket_count(rows: int, *, last: bool) -> int:
    """How many buckets a level has: at least 1, below 2^32; whole segments where more than one."""
    entries = LAST_ENTRIES if last else LOWER_ENTRIES
    count = max(1, int(np.ceil(rows / (entries * _LOAD))))
    return count if count <= SEGMENT else -(-count // SEGMENT) * SEGMENT


@inlined
def bucket_of(h: np.uint64, buckets: np.uint64) -> np.uint64:
    """The bucket of a scattered hash."""
    return np.uint64(((h >> np.uint64(32)) * buckets) >> np.uint64(32))


@inlined
def low_fingerprint(h: np.uint64) -> np.uint64:
    """The lower 32 bits of a fingerprint."""
    low = h & _LOW
    return low if low != np.uint64(0) else np.uint64(1)


@inlined
def next_bucket(bucket: np.uint64, buckets: np.uint64) -> np.uint64:
    """Where n-grams without room go."""
    following = bucket + np.uint64(1)
    first = bucket & ~np.uint64(SEGMENT - 1)
    return first if following == buckets or following - first == SEGMENT else following


@inlined
def tag(h: np.uint64) -> np.uint64:
    """The upper 16 bits of a fingerprint."""
    return (h >> np.uint64(32)) & _TAG


@inlined
def same_tag(slots: Uint64s, at: Int, entry: Int, h: np.uint64) -> bool:
    """Whether an entry's tag is that of a hash."""
    found = (slots[at + 6 + (entry >> 2)] >> np.uint64(16 * (entry & 3))) & _TAG
    return bool(found == tag(h))


@inlined
def spill_mark(h: np.uint64) -> np.uint64:
    """The bit of a bucket's last word that is set by an n-gram without room there."""
    return np.uint64(1) << (np.uint64(32) + (h & np.uint64(31)))


@borrowing
def find_entry(slots: Uint64s, bucket: np.uint64, h: np.uint64, last: bool) -> int:
    """Which entry of a bucket has a hash, or -1: one after the other.

    Args:
        slots: uint64.
        bucket: where it begins.
        h: the scattered hash.
        last: whether it is of the model's highest level.
    """
    at = np.int64(bucket)
    for entry in range(LAST_ENTRIES if last else LOWER_ENTRIES):
        low = slots[at + entry] >> np.uint64(32)
        if low == low_fingerprint(h) and same_tag(slots, at, entry, h):
            return entry
    return -1


@njit(cache=True, nogil=True)
def group(
    hashes: Uint64s, values: Uint64s, lefts: Uint8s, buckets: int, part: int
) -> tuple[Uint64s, Uint64s, Uint8s, Int64s]:
    """Sorts a level's n-grams by the parts of its buckets, contexts first in each.

    Texts have contexts more often than n-grams that nothing follows, so they get places first.

    Args:
        hashes: uint64 [R].
        values: uint64 [R], the bits of log10 backoff, 0 where nothing follows, above log10 P's.
        lefts: uint8 [R], what stands before.
        buckets: of the level.
        part: how many buckets a part has.

    Returns:
        Scattered hashes, uint64 [R]; their values, uint64 [R], and lefts, uint8 [R]; where the
        n-grams of each part begin, int64 [P + 1].
    """
    parts = (buckets + part - 1) // part
    total = np.uint64(buckets)
    begins = np.zeros(2 * parts + 1, np.int64)
    for row in range(len(hashes)):
        place = np.int64(bucket_of(scattered(hashes[row]), total)) // part
        begins[2 * place + (values[row] <= _LOW) + 1] += 1
    for i in range(2 * parts):
        begins[i + 1] += begins[i]
    ends = begins.copy()
    found, found_values = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.uint64)
    found_lefts = np.empty(len(hashes), np.uint8)
    for row in range(len(hashes)):
        h = scattered(hashes[row])
        i = 2 * (np.int64(bucket_of(h, total)) // part) + (values[row] <= _LOW)
        at = ends[i]
        found[at], found_values[at], found_lefts[at] = h, values[row], lefts[row]
        ends[i] = at + 1
    return found, found_values, found_lefts, begins[::2].copy()


@borrowing
def fill(
    hashes: Uint64s,
    values: Uint64s,
    lefts: Uint8s,
    last: bool,
    buckets: int,
    begin: int,
    slots: Uint64s,
) -> bool:
    """Puts n-grams into some segments of a level's buckets.

    Args:
        hashes: uint64 [M], scattered, of the n-grams in the order in which they get places.
        values: uint64 [M], the bits of their log10 backoffs above those of log10 P.
        lefts: uint8 [M], what stands before them.
        last: whether it is the model's highest level.
        buckets: of the level.
        begin: the first of the segments' buckets.
        slots: uint64 [8 B], these buckets; zeros at first.

    Returns:
        False if two n-grams have one fingerprint: hashes of another seed are needed.
    """
    entries = LAST_ENTRIES if last else LOWER_ENTRIES
    first, total = np.uint64(begin), np.uint64(buckets)
    for i in range(len(hashes)):
        h = hashes[i]
        low = low_fingerprint(h)
        bucket = bucket_of(h, total)
        while True:
            at = np.int64(bucket - first) * BUCKET_WORDS
            entry = np.int64(0)
            while entry < entries and slots[at + entry] != np.uint64(0):
                if slots[at + entry] >> np.uint64(32) == low and same_tag(slots, at, entry, h):
                    return False
                entry += 1
            if entry < entries:
                break
            slots[at + 7] |= spill_mark(h)
            bucket = next_bucket(bucket, total)
        slots[at + entry] = (low << np.uint64(32)) | (values[i] & _LOW)
        slots[at + 6 + (entry >> 2)] |= tag(h) << np.uint64(16 * (entry & 3))
        if not last:
            backoff = values[i] >> np.uint64(32)
            slots[at + 4 + (entry >> 1)] |= backoff << np.uint64(32 * (entry & 1))
            slots[at + 7] |= np.uint64(lefts[i]) << np.uint64(8 * entry)
    return True
