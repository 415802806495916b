import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.text.sentences import MAX_WORDS, clean, is_prose, normalise, split_sentences

KEPT = "This sentence is kept as it is."
KEPT_CLEAN = "this sentence is kept as it is ."


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("The Cat sat.", "the cat sat ."),
        ('He said: "No, never!"', 'he said : " no , never ! "'),
        ("It doesn't use the built-in one.", "it doesn't use the built-in one ."),
        ("Python 3.11 has 1,000 of them.", "python 3.11 has 1,000 of them ."),
        ("An 8-bit value (in UTF-8) is 50% of it.", "an 8-bit value ( in utf-8 ) is 50 % of it ."),
        ("Lists, e.g. empty ones, etc. are fine.", "lists , e.g. empty ones , etc. are fine ."),
        ("Tuples, lists, etc.", "tuples , lists , etc ."),
        (
            "Don\u2019t \u2013 ever \u2013 say \u201cno\u201d\u2026",
            'don\'t -- ever -- say " no " ...',
        ),
        ("  two   spaces\n", "two spaces"),
        ("", ""),
    ],
)
def test_normalise(sentence: str, tokens: str) -> None:
    assert normalise(sentence) == tokens


@given(st.text())
def test_normalise_changes_nothing_the_second_time(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    "text",
    [
        '>>> print("It is.")\nThe output of a doctest is dropped.',
        "$ make\nThe output of a command is dropped.",
        "```\n\nThe content of a fenced block is dropped.\n\n```",
        "The block follows::\n\n    The content of a literal block is dropped.",
        ".. code-block:: text\n\n    The content of a directive is dropped.",
        ".. _target: The target of a link is dropped.",
        "The heading of a section is dropped.\n------------------------------------",
        "Copyright of this file is held by its authors.\nThe second line of it is dropped too.",
        "This software is provided without any warranty.",
        "+-----+-----+\n| The | table is dropped. |\n+-----+-----+",
        "The value of x = y is dropped.",
        "The function frob_it is dropped with its sentence.",
        "The class FrobTable is dropped with its sentence.",
        "The class OSFrobber is dropped with its sentence.",
        "The call of frob() is dropped with its sentence.",
        "The module os.path is dropped with its sentence.",
        "The file /etc/passwd is dropped with its sentence.",
        "The address is https://example.org and is dropped.",
        "The format %s is dropped with its sentence.",
        "The escape \\n is dropped with its sentence.",
        "The code ``x = 1`` is dropped with its sentence.",
        "The code ``not a word`` is dropped with its sentence.",
        "The name :func:`os.getcwd` is dropped with its sentence.",
        "TODO the work to do is dropped from it.",
        "It is short.",
        "The sentence has no end",
        "The sentence introduces a list:",
        "The sentence trails off...",
        "the sentence starts in the middle of another.",
        "3 words after a number are not enough to start with.",
        "Foo bar baz quux frob.",
        "THE END USER IS NOT ASKED TO READ ALL OF THIS.",
        "The values are 1 2 3 4 5 6.",
        "The parenthesis (of this sentence is open.",
        'The quotation of this "sentence is open.',
        "The text is fran\u00e7ais and is dropped.",
        "It is " + "not " * MAX_WORDS + "long.",
    ],
)
def test_what_is_not_prose_is_dropped_alone(text: str) -> None:
    assert list(clean(f"{KEPT}\n\n{text}\n\nSo is the other sentence here.")) == [
        KEPT_CLEAN,
        "so is the other sentence here .",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\n    This sentence is\n    kept as it is.\n    ",
        "This ``sentence`` is kept as it is.",
        "This `sentence` is *kept* as **it** is.",
        "This :term:`sentence` is kept as it is.",
        "This `sentence <target>`_ is kept as `it is`_.",
        "This [sentence](https://example.org) is kept as it is.",
        "This sentence [1]_ is kept as it is.",
        "This \"sentence\" is 'kept' as it is.",
        "- This sentence is kept\n  as it is.",
        "(b) This sentence is kept as it is.",
        "1. This sentence is kept as it is.",
        ":param int size: This sentence is kept as it is.",
        "Args:\n    size (int, optional): This sentence is kept\n        as it is.",
        "Parameters\n----------\nsize : int\n    This sentence is kept as it is.",
        "* size: This sentence is kept as it is.",
        "Note: This sentence is kept as it is.",
        ".. note:: This sentence is kept as it is.",
        ".. versionadded:: 3.2\n   This sentence is kept as it is.",
        "Changed in version 3.8: This sentence is kept as it is.",
        "Heading\n=======\nThis sentence is kept as it is.",
        "This sentence\u00a0is kept as it\u200b is.",
        "Signature(x, *, y=1) -> int\n\nThis sentence is kept as it is.",
    ],
)
def test_layout_and_markup_leave_the_words(text: str) -> None:
    assert list(clean(text)) == [KEPT_CLEAN]


def test_indentation_starts_a_new_paragraph() -> None:
    text = "The example of a pipeline\n    Call it and see what happens.\nThat is the end of it."
    assert list(clean(text)) == ["call it and see what happens .", "that is the end of it ."]


def test_list_items_are_not_joined() -> None:
    text = "- The first one has no end\n- The second one has an end.\n- The third one has not"
    assert list(clean(text)) == ["the second one has an end ."]


@pytest.mark.parametrize(
    ("paragraph", "count"),
    [
        ("One is here. Two is there! Is it three? Yes", 4),
        ("Some systems, e.g. Linux and i.e. Windows vs. Others do it.", 1),
        ("See the work of Smith et al. In it all is said.", 1),
        ("It was written by J. Smith for them.", 1),
        ("It takes lists, tuples, etc. The rest is dropped.", 2),
        ('It is said ("as here."). The quotation may end it." So it does.', 3),
        ("Version 3.11 is not an end. it has to be a capital letter.", 1),
    ],
)
def test_split_sentences(paragraph: str, count: int) -> None:
    assert len(split_sentences(paragraph)) == count


@pytest.mark.parametrize(
    "sentence",
    [
        "It reads and/or writes the I/O of 3 files, e.g. those of PEP 8 (about 50% of all).",
        "The URLs of a well-known 8-bit machine are the ones that aren't used!",
        "As in Fig. 3 it is the one and only.",
        'Is "the old one" the same as the 2nd -- or not?',
    ],
)
def test_prose_has_more_than_plain_words(sentence: str) -> None:
    assert is_prose(sentence)
