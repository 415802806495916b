"""Filed contexts by bucket, for those who fetch a whole bucket at once: a part is a bucket.

`lmserve.ngram.filing` lays out by level what a shard has, so that it can be written level by level.
Here everything of a bucket lies together: for each level how many contexts and words there are,
int64 [levels, 2], then the arrays of `Arrivals`, level after level.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.filing import Filed, fetch
from lmserve.ngram.ordering import Arrivals
from lmserve.ngram.parts import Array, write_parts


def write_bucket_parts(folder: Path, shortest: int, longest: int, path: Path) -> None:
    """Writes what `filing` has filed as a file of parts, one for each bucket.

    Args:
        folder: filled by `filing`.
        shortest: how many words the shortest contexts there have.
        longest: words of the model's longest contexts.
        path: of the file.
    """
    buckets = len(next(iter(Filed.read(folder).rows.values()), []))

    def parts() -> Iterator[list[Array]]:
        for bucket in range(buckets):
            levels = fetch([(folder, shortest)], longest, bucket)[shortest - 1 :]
            sizes = [(len(level.contexts), len(level.entries)) for level in levels]
            arrays = [array for level in levels for array in _arrays(level)]
            yield [np.array(sizes, np.int64), *arrays] if any(map(any, sizes)) else []

    write_parts(path, parts())


def read_bucket_parts(parts: Sequence[tuple[bytes, int]], longest: int) -> list[Arrivals]:
    """The contexts of 1, 2, ... words of a bucket, those of all folders one after the other.

    Args:
        parts: of all folders, written by `write_bucket_parts`, and `shortest` of each.
        longest: words of the model's longest contexts.
    """
    found: list[list[Arrivals]] = [[] for _ in range(longest + 1)]
    for part, shortest in parts:
        if part:
            for j, level in enumerate(_levels(part, shortest, longest), shortest):
                found[j].append(level)
    return [_joined(levels) for levels in found[1:]]


def _arrays(level: Arrivals) -> tuple[Array, ...]:
    return level.contexts, level.entries, level.words, level.first_words


def _levels(part: bytes, shortest: int, longest: int) -> Iterator[Arrivals]:
    at = 0

    def take(count: int, kind: npt.DTypeLike) -> Array:
        nonlocal at
        array = np.frombuffer(part, kind, count, at)
        at += array.nbytes
        return array

    sizes = take(2 * (longest + 1 - shortest), np.int64).reshape(-1, 2).tolist()
    for j, (contexts, words) in enumerate(sizes, shortest):
        yield Arrivals(
            contexts=take(contexts, np.uint64),
            entries=take(words, np.uint64),
            words=take(words if j < longest else 0, np.uint32),
            first_words=take(contexts if j == 1 else 0, np.uint32),
        )


def _joined(levels: Sequence[Arrivals]) -> Arrivals:
    empty = (np.empty(0, kind) for kind in (np.uint64, np.uint64, np.uint32, np.uint32))
    columns = zip(empty, *map(_arrays, levels), strict=True)
    contexts, entries, words, first_words = map(np.concatenate, columns)
    return Arrivals(contexts=contexts, entries=entries, words=words, first_words=first_words)
