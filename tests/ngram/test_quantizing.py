from pathlib import Path

import numpy as np
import pytest
from corpora import zipf_text

import lmserve
from lmserve.errors import ModelError, OptionError
from lmserve.ngram.arpa import ngrams_of_order
from lmserve.ngram.model import NgramModel
from lmserve.ngram.quantizing import encode_values, make_codebook, quantize


def test_a_quantised_model_scores_nearly_the_same(tiny_model: NgramModel, tmp_path: Path) -> None:
    texts = zipf_text(50, seed=4).split("\n")
    exact = tiny_model.score_texts(texts)
    sizes, errors = [], []
    for bits in (2, 8, 16):
        manifest = quantize(tiny_model, tmp_path / str(bits), bits)
        model = lmserve.load(tmp_path / str(bits), check=True)
        assert manifest.digest == model.digest != tiny_model.digest
        assert manifest.quantized_bits == bits
        scores = model.score_texts(texts)
        assert (scores.tokens == exact.tokens).all()
        errors.append(np.abs(scores.log10_prob - exact.log10_prob).max())
        sizes.append((tmp_path / str(bits) / "ngrams.arrow").stat().st_size)
    assert sizes == sorted(sizes)
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.5
    assert errors[2] < 1e-3


def test_the_same_ngrams_are_in_it(tiny_model: NgramModel, tmp_path: Path) -> None:
    quantize(tiny_model, tmp_path / "q", 8)
    model = lmserve.load(tmp_path / "q")
    for k in (1, 2, 3):
        for (ids, _, backoff), (q_ids, _, q_backoff) in zip(
            ngrams_of_order(tiny_model, k), ngrams_of_order(model, k), strict=True
        ):
            assert (ids == q_ids).all()
            assert (np.isnan(backoff) == np.isnan(q_backoff)).all()
    below, last = model.manifest.levels
    assert (below.unary_words > 0, last.unary_words, last.child_bits) == (True, 0, 0)


def test_reserved_values_stay_exact() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate((-rng.exponential(1, 1000), np.zeros(500), [-np.inf] * 3, [-1e-6]))
    values = values.astype(np.float32)
    book = make_codebook(values, 4, reserved=(-np.inf, 0.0))
    assert len(book) == 16
    assert (np.diff(book[1:]) >= 0).all()
    found = book[encode_values(values, book)]
    for exact in (0.0, -np.inf):
        assert (found[values == exact] == exact).all()
    finite = np.isfinite(values)
    assert np.isfinite(found[finite]).all()
    few = np.array([-1, -1, -2.5], np.float32)
    assert (
        make_codebook(few, 8, reserved=())[encode_values(few, make_codebook(few, 8, reserved=()))]
        == few
    ).all()
    assert len(make_codebook(np.empty(0, np.float32), 3, reserved=(0.0,))) == 8


def test_what_cannot_be_quantised(tiny_model: NgramModel, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="codes of 17 bits"):
        quantize(tiny_model, tmp_path / "q", 17)
    quantize(tiny_model, tmp_path / "q", 4)
    with pytest.raises(ModelError, match="exists already"):
        quantize(tiny_model, tmp_path / "q", 4)
    with pytest.raises(ModelError, match="is quantised already, to 4 bits"):
        quantize(lmserve.load(tmp_path / "q"), tmp_path / "again", 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q"]
