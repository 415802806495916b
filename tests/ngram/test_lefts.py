"""What stands before an n-gram, by a byte, as the hash index has it."""

import shutil
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from buckets_reference import look_up

from lmserve.ngram.buckets import BUCKET_WORDS
from lmserve.ngram.hashes import hash_words, scattered
from lmserve.ngram.indexing import index_model
from lmserve.ngram.lefts import MANY_LEFTS, NO_LEFT, bytes_of_words, first_bytes, left_bytes
from lmserve.ngram.model import NgramModel
from lmserve.ngram.unpacking import unpack_words


def test_what_stands_before_is_one_words_byte_or_many() -> None:
    # Of rows 0 .. 3: nothing, one word twice, words of two bytes, words of one byte.
    suffixes = np.array([1, 2, 2, 1, 3, 3])
    firsts = np.array([7, 8, 9, 7, 254, 254], np.uint8)
    assert left_bytes(4, suffixes, firsts).tolist() == [NO_LEFT, 7, MANY_LEFTS, 254]
    assert first_bytes(np.array([0, 2, 2, 3]), np.array([5, 6, 7], np.uint8)).tolist() == [5, 5, 7]
    found = set(bytes_of_words(hash_words(10000, np.uint64(3))).tolist())
    assert found == set(range(1, 255))
    top = np.array([0, (1 << 64) - 1], np.uint64)
    assert bytes_of_words(top).tolist() == [1, 254]


def test_an_index_tells_what_stands_before(tiny_model_path: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_path, tmp_path / "model")
    index_model(NgramModel.load(tmp_path / "model"))
    indexed = NgramModel.load(tmp_path / "model")
    index = indexed.index
    assert index is not None
    *_, levels = unpack_words(indexed)
    spelled = [[(word,) for word in range(len(levels[0].words))]]
    for below, level in pairwise(levels):
        parents = np.repeat(np.arange(len(below.words)), np.diff(below.first_child))
        last_words = zip(parents.tolist(), level.words.tolist(), strict=True)
        spelled.append([(*spelled[-1][parent], word) for parent, word in last_words])
    hashes = hash_words(len(levels[0].words), index.seed[0])
    bytes_ = bytes_of_words(hashes).tolist()
    before: dict[tuple[int, ...], set[int]] = {}
    for first, *rest in chain(*spelled[1:]):
        before.setdefault(tuple(rest), set()).add(bytes_[first])
    told = set()
    for k in range(2, indexed.order):
        slots = index.slots[int(index.starts[k]) : int(index.starts[k + 1])]
        for ngram in spelled[k - 1]:
            powers = index.powers[k - 1 :: -1][:k]
            h = np.uint64(scattered((hashes[list(ngram)] * powers).sum(dtype=np.uint64)))
            at, entry = divmod(look_up(slots, h, int(index.buckets[k]), False), BUCKET_WORDS)
            found = int(slots[at * BUCKET_WORDS + 7]) >> 8 * entry & 0xFF
            expected = before.get(ngram, {int(NO_LEFT)})
            assert found == (expected.pop() if len(expected) == 1 else MANY_LEFTS)
            told.add(found)
    assert {int(NO_LEFT), int(MANY_LEFTS)} < told
