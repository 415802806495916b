"""Filing: smoothed contexts by bucket, written shard by shard and fetched bucket by bucket."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.arrays import Array, ArrayFile, array_writer
from lmserve.ngram.estimating import Estimates
from lmserve.ngram.levels import Level
from lmserve.ngram.ordering import Arrivals, split
from lmserve.ngram.spares import Spares

# Two files of about equal size, so that both find one to be written over.
_ENTRIES_FILE, _OTHERS_FILE = "entries.arrow", "others.arrow"
# What `Filed.read` reads.
SUMS_FILE = "filed.json"
# Of each level, in the second: where buckets begin, and three columns of `Arrivals`.
_STARTS, _CONTEXTS, _FIRST_WORDS, _WORDS = range(4)
_OTHERS = 4


@dataclass(frozen=True, slots=True)
class Filed:
    """How much a folder holds.

    Attributes:
        rows: by number of context words, n-grams in each bucket, int64 [B].
        longest: by number of context words, the longest list.
    """

    rows: dict[int, list[int]]
    longest: dict[int, int]

    @classmethod
    def read(cls, folder: Path) -> "Filed":
        """Reads what `filing` wrote."""
        content = json.loads((folder / SUMS_FILE).read_text())
        return cls(*({int(j): value for j, value in content[name].items()} for name in content))


@contextmanager
def filing(
    folder: Path, bucket_starts: npt.NDArray[np.int64], longest: int, spares: Spares
) -> Iterator[Callable[[Level, Estimates, int], None]]:
    """A function that files the smoothed contexts of j words, for one j after the other.

    Args:
        folder: an existing folder.
        bucket_starts: int64 [B + 1], ids of first words; the last is V.
        longest: words of the model's longest contexts.
        spares: files that may be written over.
    """
    buckets = len(bucket_starts) - 1
    bucket_of_word = np.repeat(np.arange(buckets, dtype=np.uint32), np.diff(bucket_starts))
    filed = Filed({}, {})
    with (
        array_writer(folder / _ENTRIES_FILE, spares) as write_entries,
        array_writer(folder / _OTHERS_FILE, spares) as write,
    ):

        def file(level: Level, estimates: Estimates, j: int) -> None:
            arrivals, starts = split(
                level, estimates, bucket_of_word, buckets, j=j, longest=longest
            )
            filed.rows[j] = np.diff(starts[:, 1]).tolist()
            filed.longest[j] = int(np.diff(level.list_ends, prepend=np.uint32(0)).max(initial=0))
            write_entries(arrivals.entries)
            for array in (starts, arrivals.contexts, arrivals.first_words, arrivals.words):
                write(array)

        yield file
    sums = {"rows": filed.rows, "longest": filed.longest}
    (folder / SUMS_FILE).write_text(json.dumps(sums))


def fetch(folders: Sequence[tuple[Path, int]], longest: int, bucket: int) -> list[Arrivals]:
    """The contexts of 1, 2, ... words of one bucket, those of all folders one after the other.

    Args:
        folders: filled by `filing`; and how many words the shortest contexts filed there have.
        longest: words of the model's longest contexts.
        bucket: which.
    """
    opened = [
        (ArrayFile(folder / _ENTRIES_FILE), ArrayFile(folder / _OTHERS_FILE), shortest)
        for folder, shortest in folders
    ]
    bounds = np.zeros((len(folders), longest + 1, 2, 2), np.int64)
    for (_, others, shortest), own in zip(opened, bounds, strict=True):
        levels = range(min(len(others) // _OTHERS, longest + 1 - shortest))
        others.read(*((_OTHERS * i + _STARTS, 2 * bucket, own[shortest + i]) for i in levels))
    sizes = bounds[:, :, 1] - bounds[:, :, 0]
    fetched = [
        Arrivals(
            contexts=np.empty(contexts, np.uint64),
            first_words=np.empty(contexts if j == 1 else 0, np.uint32),
            entries=np.empty(words, np.uint64),
            words=np.empty(words if j < longest else 0, np.uint32),
        )
        for j, (contexts, words) in enumerate(sizes.sum(axis=0).tolist())
    ]
    ends = np.cumsum(sizes, axis=0)
    starts = ends - sizes
    for (entries, others, shortest), own, begin, end in zip(
        opened, bounds[:, :, 0].tolist(), starts.tolist(), ends.tolist(), strict=True
    ):
        from_entries: list[tuple[int, int, Array]] = []
        from_others: list[tuple[int, int, Array]] = []
        for j in range(shortest, longest + 1):
            (context, word), arrivals = own[j], fetched[j]
            contexts, words = (slice(*both) for both in zip(begin[j], end[j], strict=True))
            if contexts.start == contexts.stop:
                continue
            first = (j - shortest) * _OTHERS
            from_entries.append((j - shortest, word, arrivals.entries[words]))
            from_others.append((first + _CONTEXTS, context, arrivals.contexts[contexts]))
            if j == 1:
                from_others.append((first + _FIRST_WORDS, context, arrivals.first_words[contexts]))
            if j < longest:
                from_others.append((first + _WORDS, word, arrivals.words[words]))
        entries.read(*from_entries)
        others.read(*from_others)
    return fetched[1:]


def give_up_filed(folder: Path, spares: Spares) -> None:
    """Takes what `fetch` reads out of use, once it has been made use of; sums are kept."""
    for name in (_ENTRIES_FILE, _OTHERS_FILE):
        spares.give(folder / name)
