"""Tokens of text that comes piece by piece."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers_made import train_bpe, train_sentencepiece

from lmserve.text.continuing import tokens_after, words_of
from lmserve.text.tokenization import Segment, Tokenization

WORDS = ["w0", "w12", "caf\u00e9", "na\u00efve.", "\u65e5\u672c\u8a9e", "don't", "</s>", "a"]
CHOICES: dict[str, Callable[[Path], str]] = {
    "whitespace": lambda _: "whitespace",
    "characters": lambda _: "characters",
    "sentencepiece": lambda folder: str(train_sentencepiece(folder)),
    "bpe": lambda folder: str(train_bpe(folder)),
}


@pytest.fixture(scope="module", params=list(CHOICES))
def segment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segment:
    folder = tmp_path_factory.mktemp("tokenizer")
    choice = CHOICES[request.param](folder)
    tokenization = Tokenization.choose(choice)
    if tokenization.file_name:
        tokenization.keep(Path(choice), folder)
    return tokenization.open(folder)


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
def test_words_one_by_one_are_the_tokens_of_the_text(segment: Segment, words: list[str]) -> None:
    whole = words_of(segment(" ".join(words).encode() + b"\n"))
    found = [
        token
        for i, word in enumerate(words)
        for token in tokens_after(segment, word.encode(), begun=i > 0)
    ]
    assert found == whole


@pytest.mark.parametrize("text", [b"", b" ", b"\t\n\r"])
def test_nothing_but_white_space_is_nothing(segment: Segment, text: bytes) -> None:
    for begun in (True, False):
        assert tokens_after(segment, text, begun=begun) == []


def test_white_space_around_a_text_is_none_of_it(segment: Segment) -> None:
    for begun in (True, False):
        alone = tokens_after(segment, b"w0 w1", begun=begun)
        assert tokens_after(segment, b" \nw0\nw1\r\n", begun=begun) == alone


def test_a_tokenizer_that_knows_no_words_is_asked_for_the_text_alone() -> None:
    def counted(data: bytes) -> bytes:
        return b"".join(b"%d %b\n" % (len(line), line) for line in data.split(b"\n")[:-1])

    assert tokens_after(counted, b"abcd", begun=True) == [b"4", b"abcd"]
