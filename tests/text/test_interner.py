"""Texts at the edges of what there may be: the ids, words and counts stay exact."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from lmserve.text.interner import Interner
from lmserve.text.special_tokens import EOS, FIRST_WORD, SpecialTokens

MILLION = 10**6


def interned(*blocks: bytes) -> tuple[list[bytes], np.ndarray, Counter[bytes]]:
    """The words of all tokens, the last block's ids, and the counts of words that occurred."""
    interner = Interner(SpecialTokens.ERROR)
    ids = np.concatenate([interner.tokenize(block)[0].copy() for block in blocks])
    offsets, data, counts = interner.words()
    vocabulary = data.tobytes()
    words = [vocabulary[a:b] for a, b in pairwise(offsets)]
    counted = Counter({w: c for w, c in zip(words, counts.tolist(), strict=True) if c})
    return [words[i] for i in ids.tolist()], ids, counted


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n", b" \t\r\n \n"])
def test_sentences_without_words(text: bytes) -> None:
    words, ids, _ = interned(text)
    assert ids.tolist() == [EOS] * text.count(b"\n")
    assert words == [b"</s>"] * text.count(b"\n")


def test_a_sentence_of_a_million_words() -> None:
    text = b"a b " * (MILLION // 2)
    _, ids, counted = interned(text)
    assert len(ids) == MILLION + 1
    assert counted == {b"a": MILLION // 2, b"b": MILLION // 2, b"</s>": 1}


def test_a_word_of_a_million_bytes() -> None:
    words, ids, _ = interned(b"x" * MILLION + b"\n" + b"x" * (MILLION - 1) + b" " + b"x" * MILLION)
    assert [len(word) for word in words] == [MILLION, 4, MILLION - 1, MILLION, 4]
    assert ids[0] == ids[3] != ids[2]


def test_one_word_a_million_times() -> None:
    _, ids, counted = interned(b"again\n" * MILLION)
    assert counted == {b"again": MILLION, b"</s>": MILLION}
    assert (ids[::2] == FIRST_WORD).all()


@pytest.mark.parametrize("line", [b"%d", b"a-long-beginning-%d"])
def test_a_million_distinct_words(line: bytes) -> None:
    blocks = [
        b"\n".join(line % i for i in range(first, first + 250_000)) + b"\n"
        for first in range(0, MILLION, 250_000)
    ]
    words, ids, counted = interned(*blocks, blocks[0])
    assert words[::2][:MILLION] == [line % i for i in range(MILLION)]
    assert ids[::2].tolist() == [*range(FIRST_WORD, FIRST_WORD + MILLION), *ids[:500_000:2]]
    assert counted[line % 0] == 2
    assert counted[line % (MILLION - 1)] == 1


def test_words_are_bytes() -> None:
    # Not UTF-8, a truncated sequence, a surrogate, a no-break space, a byte order mark.
    text = b"\xff\xfe \xe2\x82 \xed\xa0\x80 a\xc2\xa0b \xef\xbb\xbfa a"
    words, _, _ = interned(text)
    assert words == [*text.split(b" "), b"</s>"]


def test_words_that_differ_late_or_in_zeros_alone() -> None:
    distinct = [b"a" * n for n in range(1, 40)]
    distinct += [b"a" * n + b"b" for n in range(40)]
    distinct += [b"a\0", b"a\0\0", b"\0", b"\0a", b"aaaaaaa\0", b"aaaaaaaa\0", b"aaaaaaaaaaaa\0"]
    words, ids, _ = interned(b" ".join(distinct + distinct))
    assert words == [*distinct, *distinct, b"</s>"]
    assert len(set(ids[: len(distinct)].tolist())) == len(distinct)
