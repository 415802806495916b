from pathlib import Path

import pytest

from lmserve.errors import InputError
from lmserve.text.examples import distinct_lines, examples, split_lines


def test_lines_are_taken_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"b a\n\n  a\r\nb a\n\xff\n")
    assert distinct_lines([path]) == ["b a", "a", "\ufffd"]


def test_held_out_lines_are_none_of_the_training_lines() -> None:
    lines = [f"line {i}" for i in range(100)]
    training, held_out = split_lines(lines, seed=1)
    assert sorted(training + held_out) == sorted(lines)
    assert len(held_out) == 5


def test_a_text_too_short_is_refused_with_a_remedy_for_texts() -> None:
    with pytest.raises(InputError, match="1 different lines are too few") as error:
        split_lines(["one line"], seed=1)
    assert "longer text" in error.value.remedy


def test_examples_are_a_held_out_sentence_shuffled_and_made_up() -> None:
    fluent = "a b c d e f g h"
    triple = examples(["too short", "x y z d e f g h", fluent], [fluent, "i j 1"], seed=1)
    assert [kind for kind, _ in triple] == ["fluent", "shuffled", "nonsense"]
    sentences = [sentence.split() for _, sentence in triple]
    assert sentences[0] == fluent.split()
    assert sorted(sentences[1]) == sentences[0] != sentences[1]
    assert len(sentences[2]) == 8
    assert "1" not in sentences[2]


def test_texts_without_letters_and_without_fitting_sentences_have_examples_too() -> None:
    figures = "1 2 3 4 5 6 7 8"
    assert len(examples([figures], [figures], seed=1)) == 3
    assert examples(["short"], ["short"], seed=1) == []
