"""Looking up an n-gram in the buckets of a hash index, plainly."""

import numpy as np
import numpy.typing as npt

from lmserve.ngram.buckets import (
    BUCKET_WORDS,
    LAST_ENTRIES,
    LOWER_ENTRIES,
    bucket_of,
    find_entry,
    next_bucket,
)


def look_up(slots: npt.NDArray[np.uint64], h: np.uint64, buckets: int, last: bool) -> int:
    """Where a hash's entry is: bucket after bucket, all entries, until a bucket has room."""
    bucket = bucket_of(h, np.uint64(buckets))
    for _ in range(buckets):
        at = int(bucket) * BUCKET_WORDS
        entry = find_entry(slots, np.uint64(at), h, last)
        if entry >= 0:
            return at + entry
        entries = LAST_ENTRIES if last else LOWER_ENTRIES
        if (slots[at : at + entries] == 0).any():
            return -1
        bucket = next_bucket(bucket, np.uint64(buckets))
    return -1
