"""Limiting a vocabulary: which words of a text are counted as themselves, and not as `<unk>`."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lmserve.errors import InputError, OptionError

# As words in a text are.
_WORD = re.compile(rb"[^ \t\r\n]+")


@dataclass(frozen=True, slots=True)
class VocabularyLimit:
    """The most frequent words, or those that a file names; all, where nothing is set.

    Attributes:
        size: how many of the most frequent; those first in byte order of equally frequent ones.
        file: holds the words, separated by white space; those that the text does not hold are
            none of the model's.

    Raises:
        OptionError: both are set, or the size is below 1.
    """

    size: int | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.file is not None:
            raise OptionError(
                f"the vocabulary is limited to {self.size} words and to those of {self.file}",
                "Give either --vocab-size or --vocab-file.",
            )
        if self.size is not None and self.size < 1:
            raise OptionError(
                f"the vocabulary's size is {self.size}", "Give 1 word or more, or no limit."
            )

    def file_sha256(self) -> str | None:
        """Tells files apart by what they hold; None without one."""
        return None if self.file is None else hashlib.sha256(self._read(self.file)).hexdigest()

    def keep(self, words: pa.Array, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which words stay: bool [N].

        Args:
            words: `large_binary` [N], distinct, none of them special.
            counts: int64 [N], how often each occurs.

        Raises:
            InputError: the file cannot be read.
        """
        if self.file is not None:
            named = pa.array(set(_WORD.findall(self._read(self.file))), pa.large_binary())
            return np.asarray(pc.is_in(words, value_set=named), np.bool_)
        if self.size is None or self.size >= len(words):
            return np.ones(len(words), np.bool_)
        # All above the count that the last one has, and of those that have it the first ones.
        least = np.partition(counts, len(counts) - self.size)[len(counts) - self.size]
        keep = np.asarray(counts > least)
        (equal,) = np.nonzero(counts == least)
        in_order = pc.sort_indices(words.take(pa.array(equal))).to_numpy()
        keep[equal[in_order[: self.size - int(keep.sum())]]] = True
        return keep

    @staticmethod
    def _read(file: Path) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            raise InputError(
                f"the vocabulary file {str(file)!r} cannot be read: {error}",
                "Give a file of words, separated by spaces or line ends.",
            ) from error


ALL_WORDS = VocabularyLimit()
