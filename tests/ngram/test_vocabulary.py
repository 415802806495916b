"""Vocabularies merged from what several pieces of a text counted."""

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.ngram import vocabulary
from lmserve.ngram.vocabulary import Vocabulary, write_vocabulary
from lmserve.text.special_tokens import EOS, FIRST_WORD, SPECIAL_WORDS


def piece(words: list[bytes], sentences: int = 1) -> pa.Table:
    """What `tokenize_piece` leaves of a text with these words."""
    counts = Counter(words)
    return pa.table(
        {
            "word": pa.array([*SPECIAL_WORDS, *counts], pa.large_binary()),
            "count": pa.array([0, 0, sentences, *counts.values()], pa.int64()),
        }
    )


def counted(folder: Path) -> dict[bytes, int]:
    opened = Vocabulary.open(folder)
    assert [opened.find(opened[word]) for word in range(len(opened))] == list(range(len(opened)))
    return {opened[word]: int(opened.counts[word]) for word in range(FIRST_WORD, len(opened))}


WORDS = st.binary(min_size=1, max_size=20).filter(lambda word: word not in SPECIAL_WORDS)


@given(pieces=st.lists(st.lists(WORDS), min_size=1, max_size=4))
def test_counts_are_added_up(
    pieces: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary([piece(words) for words in pieces], folder)
    assert counted(folder) == Counter(word for words in pieces for word in words)
    assert Vocabulary.open(folder).counts[EOS] == len(pieces)


def test_words_of_one_hash_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_words(offsets: npt.NDArray[np.int64], _: object) -> npt.NDArray[np.uint64]:
        return np.diff(offsets).astype(np.uint64)

    monkeypatch.setattr(vocabulary, "hash_words", hash_words)
    write_vocabulary([piece([b"b", b"a", b"cc"]), piece([b"a", b"dd", b"a"])], tmp_path)
    assert list(counted(tmp_path).items()) == [(b"a", 3), (b"b", 1), (b"cc", 1), (b"dd", 1)]
