"""Queries against the plain reference, and against each other."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from arpa_text import write_reference_arpa
from corpora import zipf_text
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceModel, modified_kneser_ney

import lmserve
from lmserve.errors import OptionError
from lmserve.ngram.importing import import_arpa
from lmserve.ngram.model import NgramModel
from lmserve.ngram.packed import Tables
from lmserve.ngram.quantizing import quantize
from lmserve.ngram.query import score_lines
from lmserve.ngram.states import State
from lmserve.sampling import power_of_10

FALLBACK = (0.5, 1.0, 1.5)


def imported(reference: ReferenceModel) -> NgramModel:
    with tempfile.TemporaryDirectory() as folder:
        write_reference_arpa(reference, Path(folder) / "arpa")
        import_arpa(Path(folder) / "arpa", Path(folder) / "model")
        return lmserve.load(Path(folder) / "model", check=True)


def check_scores(model: NgramModel, reference: ReferenceModel, sentence: bytes, bos: bool) -> None:
    found = model.score_words(sentence, bos=bos)
    expected = reference.score(sentence, bos=bos)
    assert [(word.ngram_length, word.oov) for word in found] == [row[1:] for row in expected]
    assert [word.log10_prob for word in found] == pytest.approx(
        [row[0] for row in expected], abs=1e-5
    )
    state = model.begin_state() if bos else model.null_state()
    for word, spelled in zip(found, [*sentence.split(), b"</s>"], strict=True):
        score, state = model.score_word(state, spelled)
        assert score == word


words = st.sampled_from([b"a", b"b", b"c", b"\xff\xfe", "ü".encode(), b"longer-word"])
texts = st.lists(st.lists(words, max_size=8), min_size=1, max_size=12).filter(any)


@given(texts, st.integers(1, 6), st.lists(words | st.just(b"zzz"), max_size=9))
def test_any_small_model_scores_like_the_reference(
    text: list[list[bytes]], order: int, sentence: list[bytes]
) -> None:
    reference = modified_kneser_ney(text, order, discount_fallback=FALLBACK)
    model = imported(reference)
    for line in (*text[:3], sentence, []):
        for bos in (True, False):
            check_scores(model, reference, b" ".join(line), bos)
    scores = model.log10_distribution(model.state_after(b" ".join(sentence)))
    assert (10.0**scores).sum() == pytest.approx(1, abs=1e-6)


def test_a_larger_model_scores_like_the_reference() -> None:
    lines = zipf_text(800, words=1500).encode().splitlines()
    reference = modified_kneser_ney([line.split() for line in lines], 5)
    model = imported(reference)
    for line in (*lines[:30], *zipf_text(30, seed=9).encode().splitlines()):
        check_scores(model, reference, line, True)


def test_lanes_do_not_matter(tiny_model: NgramModel) -> None:
    text = (zipf_text(300, seed=3) + "\n\nw0 zzz\n").encode()
    ids, lines = tiny_model.encode(text, eos=False)
    expected = score_lines(ids, lines, True, tiny_model.tables, 1)
    for lanes in (2, 7, 64, 1000):
        found = score_lines(ids, lines, True, tiny_model.tables, lanes)
        assert (found[0] == expected[0]).all()
        assert (found[1] == expected[1]).all()


def test_columns_score_like_lists(tiny_model: NgramModel) -> None:
    texts = [*zipf_text(40, seed=8).split("\n"), "", "w0\nw1", "w0\tzzz ü"]
    expected = tiny_model.score_texts(texts)
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        column = pa.array(["skipped", *texts], kind).slice(1)
        for given_column in (column, pa.chunked_array([column.slice(0, 9), column.slice(9)])):
            found = tiny_model.score_array(given_column)
            for name in ("log10_prob", "known_log10_prob", "tokens", "oov"):
                assert (getattr(found, name) == getattr(expected, name)).all()
    assert len(tiny_model.score_array(pa.array([], pa.string()))) == 0
    for wrong in (pa.array([1, 2]), pa.array(["w0", None])):
        with pytest.raises(OptionError, match="holds no texts"):
            tiny_model.score_array(wrong)
    with pytest.raises(OptionError, match="a list is no Arrow column"):
        tiny_model.score_array(["w0"])


def test_threads_change_nothing(tiny_model: NgramModel) -> None:
    texts = zipf_text(200_000, seed=9).split("\n")
    column = pa.array(texts)
    alone = tiny_model.score_array(column)
    assert len("".join(texts)) > 500_000, "several parts"
    shared = tiny_model.score_array(column, threads=3)
    np.testing.assert_array_equal(shared.log10_prob, alone.log10_prob)
    np.testing.assert_array_equal(shared.tokens, alone.tokens)
    buffer = tiny_model.score_buffer("\n".join(texts).encode() + b"\n", threads=2)
    np.testing.assert_array_equal(buffer.log10_prob, alone.log10_prob)
    with pytest.raises(OptionError, match="threads is 0"):
        tiny_model.score_array(column, threads=0)


def test_large_batches_are_scored_in_parts(tiny_model: NgramModel) -> None:
    texts = ["w0 " * (i % 3000) for i in range(300)]
    scores = tiny_model.score_texts(texts)
    for i in (0, 1, 150, 299):
        assert scores.log10_prob[i] == tiny_model.score(texts[i])


def test_the_distribution_is_to_the_bit_what_scoring_says(tiny_model: NgramModel) -> None:
    for context in ("", "w0", "w1 w0 w0", "w2 never-seen w0"):
        state = tiny_model.state_after(context)
        scores = tiny_model.log10_distribution(state)
        for word_id, word in enumerate(tiny_model.vocabulary):
            if word_id > 2:
                assert scores[word_id] == tiny_model.score_word(state, word)[0].log10_prob


def test_states_remember_no_more_than_matters(tiny_model: NgramModel) -> None:
    state = tiny_model.begin_state()
    for word in ("w0", "never-seen"):
        _, state = tiny_model.score_word(state, word)
    assert state == tiny_model.null_state() == State()
    assert len({tiny_model.state_after(c) for c in ("w5 w1 w0", "w7 w1 w0")}) == 1
    assert tiny_model.score_word(state, "</s>")[0].oov is False
    assert tiny_model.score_word(state, "<s>")[0].oov is True
    assert tiny_model.score_word(state, "w0 w1")[0].oov is True


def test_samples_are_the_same_everywhere_and_follow_the_model(tiny_model: NgramModel) -> None:
    once = tiny_model.sample(200, seed=5, max_words=30)
    assert once[:3] == tiny_model.sample(3, seed=5, max_words=30)
    assert once != tiny_model.sample(200, seed=6, max_words=30)
    assert all(len(sentence.split()) <= 30 for sentence in once)
    assert all("<" not in sentence for sentence in once)
    assert not any(word.oov for sentence in once for word in tiny_model.score_words(sentence))
    firsts = [sentence.split(" ")[0] for sentence in tiny_model.sample(3000, seed=1, max_words=1)]
    distribution = tiny_model.distribution("")
    for word in ("w0", "w1", "w2"):
        word_id = tiny_model.vocabulary.find(word.encode())
        expected = distribution[word_id] / (1 - distribution[0])
        spread = 5 * math.sqrt(expected / 3000)
        assert firsts.count(word) / 3000 == pytest.approx(expected, abs=spread)
    assert tiny_model.sample(1, max_words=0) == [""]


@given(st.floats(-320, 0))
def test_powers_of_ten(exponent: float) -> None:
    assert power_of_10(exponent) == pytest.approx(10.0**exponent, rel=1e-13, abs=1e-300)


@pytest.mark.parametrize("bits", [None, 4])
def test_queries_stay_inside_damaged_tables(
    tiny_model: NgramModel, tiny_model_path: Path, tmp_path: Path, bits: int | None
) -> None:
    """Columns full of nonsense give nonsense scores, never a read outside the tables."""
    if bits is not None:
        quantize(tiny_model, tmp_path / "quantised", bits)
        tiny_model_path = tmp_path / "quantised"
    rng = np.random.default_rng(1)
    texts = zipf_text(100, words=300).split("\n")
    for _ in range(20):
        model = lmserve.load(tiny_model_path)
        damaged = {}
        for name in ("first_child", "bits", "blocks", "wide"):
            column = getattr(model.tables, name).copy()
            hit = rng.random(len(column)) < 0.3
            column[hit] = rng.integers(-(2**63), 2**63 - 1, hit.sum()).astype(column.dtype)
            column.flags.writeable = False
            damaged[name] = column
        model.tables = Tables(**{**model.tables._asdict(), **damaged})
        scores = model.score_texts(texts)
        assert len(scores) == len(texts)
        model.next_words("w0 w1")
        model.sample(2, max_words=5)
    assert math.isfinite(tiny_model.score("w0"))
