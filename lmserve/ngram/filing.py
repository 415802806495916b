"""Filing: smoothed contexts by bucket, written shard by shard and fetched bucket by bucket."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.ngram.arrays import ArrayFile, array_writer
from lmserve.ngram.estimating import Estimates
from lmserve.ngram.levels import Level
from lmserve.ngram.ordering import Arrivals, split
from lmserve.ngram.spares import Spares
from lmserve.text.word_table import Offsets

# Two files of about equal size, so that both find one to be written over.
_ENTRIES_FILE, _OTHERS_FILE, _SUMS_FILE = "entries.arrow", "others.arrow", "filed.json"
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
        content = json.loads((folder / _SUMS_FILE).read_text())
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
    (folder / _SUMS_FILE).write_text(json.dumps(sums))


def fetch(folders: Sequence[tuple[Path, int]], j: int, longest: int, bucket: int) -> Arrivals:
    """The contexts of j words of one bucket, those of all folders one after the other.

    Args:
        folders: filled by `filing`; and how many words the shortest contexts filed there have.
        j: words of the contexts.
        longest: words of the model's longest contexts.
        bucket: which.
    """
    parts: list[tuple[ArrayFile, ArrayFile, int, Offsets]] = []
    for folder, shortest in folders:
        if not shortest <= j <= longest:
            continue
        others = ArrayFile(folder / _OTHERS_FILE)
        first = (j - shortest) * _OTHERS
        if first < len(others):
            bounds = np.empty((2, 2), np.int64)
            others.read(first + _STARTS, 2 * bucket, bounds)
            parts.append((ArrayFile(folder / _ENTRIES_FILE), others, j - shortest, bounds))
    contexts, words = sum((bounds[1] - bounds[0] for *_, bounds in parts), np.zeros(2, np.int64))
    arrivals = Arrivals(
        contexts=np.empty(contexts, np.uint64),
        first_words=np.empty(contexts if j == 1 else 0, np.uint32),
        entries=np.empty(words, np.uint64),
        words=np.empty(words if j < longest else 0, np.uint32),
    )
    context = word = 0
    for entries, others, level, ((first_context, first_word), (end_context, end_word)) in parts:
        to_contexts = slice(context, context := context + end_context - first_context)
        to_words = slice(word, word := word + end_word - first_word)
        first = level * _OTHERS
        entries.read(level, first_word, arrivals.entries[to_words])
        others.read(first + _CONTEXTS, first_context, arrivals.contexts[to_contexts])
        if j == 1:
            others.read(first + _FIRST_WORDS, first_context, arrivals.first_words[to_contexts])
        if j < longest:
            others.read(first + _WORDS, first_word, arrivals.words[to_words])
    return arrivals
