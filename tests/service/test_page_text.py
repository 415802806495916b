"""How the page reads texts: its own module in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from browser import Page, running_browser
from live_service import live

import lmserve

APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
TEXT = f"The U.S. didn't \"buy\" Dow's, can{APOSTROPHE}t; Mr. O'Neil's <unk> ... 3.5% (it)!"


@pytest.fixture(scope="module")
def page(tiny_model: lmserve.NgramModel) -> Iterator[Page]:
    with live(tiny_model) as running, running_browser() as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{running.port}/docs")
        yield page


def call(page: Page, name: str, *arguments: Any) -> Any:
    """What a function of text.js returns."""
    script = "async ([name, args]) => (await import('./page/text.js'))[name](...args)"
    return page.evaluate(script, [name, arguments])


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("kept", TEXT),
        (
            "apart",
            "the u.s . didn't \" buy \" dow's , can't ; mr . o'neil's <unk> . . . 3.5 % ( it ) !",
        ),
        ("treebank", "the u.s. did n't buy dow 's ca n't mr. o'neil 's <unk> 3.5 it"),
    ],
)
def test_words_are_read_in_a_form(page: Page, form: str, words: str) -> None:
    tokens = call(page, "tokenise", TEXT, form)
    assert " ".join(token["word"] for token in tokens) == words
    for token in tokens:
        span = TEXT[token["start"] : token["end"]]
        assert token["word"] in (span, span.lower().replace(APOSTROPHE, "'"))
    assert [token["complete"] for token in tokens[:2]] == [True, True]
    assert not tokens[-1]["complete"]


def test_what_is_read_already_is_read_the_same_again(page: Page) -> None:
    text = "did n't it 's u.s. mr. ca n't"
    tokens = call(page, "tokenise", f"{text} ", "treebank")
    assert [token["word"] for token in tokens] == text.split()
    assert all(token["complete"] for token in tokens)


def test_empty_lines_are_no_sentences(page: Page) -> None:
    words = [token["word"] for token in call(page, "tokenise", "\na\n\n \nb", "kept")]
    assert words == ["a", "\n", "b"]


@pytest.mark.parametrize(
    ("old", "new", "shared"),
    [
        ("a b c", "a b c d", [3, 0]),
        ("a b c", "a x c", [1, 1]),
        ("a a", "a", [1, 0]),
        ("a b", "b", [0, 1]),
        ("", "a", [0, 0]),
    ],
)
def test_what_two_texts_share(page: Page, old: str, new: str, shared: list[int]) -> None:
    assert call(page, "overlap", old.split(), new.split()) == shared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rained. We left.", ["It rained.", "We left."]),
        (
            "It rained all day,\nand we left. Then\nit stopped\nfor good.\n\nA chapter",
            ["It rained all day, and we left.", "Then it stopped for good.", "A chapter"],
        ),
        ("no marks here\nnor here\nnor  here", ["no marks here", "nor here", "nor here"]),
        ("One stands here.\r\nAnother here.\r\n", ["One stands here.", "Another here."]),
        (
            "It rained. We left.\nIt stopped. We came.",
            ["It rained.", "We left.", "It stopped.", "We came."],
        ),
        ("", []),
    ],
)
def test_where_sentences_end_is_guessed(page: Page, text: str, expected: list[str]) -> None:
    assert call(page, "sentences", text, "guess") == expected


def test_where_sentences_end_can_be_said(page: Page) -> None:
    text = "It rained. We left.\nIt stopped."
    assert len(call(page, "sentences", text, "lines")) == 2
    assert len(call(page, "sentences", text, "prose")) == 3
