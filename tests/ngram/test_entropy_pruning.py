"""Entropy pruning of model folders is that of the reference."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from arpa_text import write_reference_arpa
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from model_ngrams import model_ngrams
from reference import reference
from reference_counts import BOS
from reference_entropy import BackoffModel, entropy_pruned, relative_entropy

import lmserve
from lmserve.errors import ModelError, OptionError
from lmserve.ngram.entropy_pruning import prune_by_entropy
from lmserve.ngram.importing import import_arpa
from lmserve.ngram.model import NgramModel
from lmserve.ngram.quantizing import quantize

words = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
corpora = st.lists(st.lists(words, max_size=7), min_size=1, max_size=8)
methods = st.sampled_from(["witten-bell", "absolute-discounting", "modified-kneser-ney"])
thresholds = st.floats(-5, 0).map(lambda exponent: 10.0**exponent)


def imported(corpus: list[list[bytes]], order: int, smoothing: str, folder: Path) -> NgramModel:
    model = reference(corpus, order, smoothing, discount_fallback=(0.5, 1.0, 1.5))
    write_reference_arpa(model, folder / "arpa")
    import_arpa(folder / "arpa", folder / "model")
    return lmserve.load(folder / "model")


def as_reference(model: NgramModel) -> BackoffModel:
    """The reference of a model's own float32 numbers, so that both see the same prices."""
    ngrams = model_ngrams(model)
    contexts = {ngram[:-1] for ngram in ngrams}
    return BackoffModel(
        set(model.vocabulary) - {BOS},
        {ngram: 10.0**prob for ngram, (prob, _) in ngrams.items() if ngram != (BOS,)},
        {ngram: 10.0**weight for ngram, (_, weight) in ngrams.items() if ngram in contexts},
    )


@given(corpora, st.integers(2, 4), methods, thresholds)
@settings(max_examples=40)
def test_it_is_the_reference(
    corpus: list[list[bytes]], order: int, smoothing: str, threshold: float
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = imported(corpus, order, smoothing, folder)
        whole = as_reference(model)
        for ngram in whole.probs:
            if len(ngram) > 1:
                rise = math.expm1(relative_entropy(whole, ngram))
                assume(rise != pytest.approx(threshold, rel=1e-6))
        prune_by_entropy(model, folder / "pruned", threshold)
        pruned = lmserve.load(folder / "pruned", check=True)
        expected = entropy_pruned(whole, threshold, suffixes_stay=True)
        found = as_reference(pruned)
        assert found.probs == expected.probs
        assert found.weights.keys() == expected.weights.keys()
        for context, weight in expected.weights.items():
            if len(expected.stored(context)) < len(whole.vocabulary):
                assert found.weights[context] == pytest.approx(weight, rel=1e-4), context
        for context in expected.weights:
            texts = b" ".join(context).decode().removeprefix("<s>")
            distribution = pruned.distribution(texts, bos=context[0] == BOS)
            assert distribution.sum() == pytest.approx(1, abs=1e-5), context


def test_nothing_and_everything(tiny_model: NgramModel, tmp_path: Path) -> None:
    prune_by_entropy(tiny_model, tmp_path / "all", 1e-300)
    same = lmserve.load(tmp_path / "all", check=True)
    whole = model_ngrams(tiny_model)
    # But for a few that are worth exactly what backing off gives.
    assert len(model_ngrams(same)) > 0.99 * len(whole)
    manifest = prune_by_entropy(tiny_model, tmp_path / "none", 1e300)
    words_only = lmserve.load(tmp_path / "none", check=True)
    assert manifest.ngrams == [len(tiny_model.vocabulary), 0, 0]
    found = model_ngrams(words_only)
    assert {ngram: prob for ngram, (prob, _) in found.items()} == {
        ngram: prob for ngram, (prob, _) in whole.items() if len(ngram) == 1
    }
    assert {weight for _, weight in found.values()} == {0.0}
    assert words_only.score_texts(["w0 w1 zzz"]).tokens.tolist() == [4]


def test_what_loses_nothing_is_the_same_to_the_bit(tiny_model: NgramModel, tmp_path: Path) -> None:
    manifest = prune_by_entropy(tiny_model, tmp_path / "pruned", 1e-5)
    before, after = model_ngrams(tiny_model), model_ngrams(lmserve.load(tmp_path / "pruned"))
    assert 0 < len(after) < len(before)
    lost = {ngram[:-1] for ngram in before.keys() - after.keys()}
    for ngram, values in after.items():
        assert values == before[ngram] or (values[0] == before[ngram][0] and ngram in lost)
    assert all(ngram[1:] in after and ngram[:-1] in after for ngram in after if len(ngram) > 1)
    assert manifest.entropy_pruning == [1e-5]
    again = prune_by_entropy(lmserve.load(tmp_path / "pruned"), tmp_path / "again", 1e-4)
    assert again.entropy_pruning == [1e-5, 1e-4]
    assert sum(again.ngrams) < sum(manifest.ngrams)


def test_the_threshold_is_in_the_digest(tiny_model: NgramModel, tmp_path: Path) -> None:
    manifest = tiny_model.manifest
    named = manifest.model_copy(update={"entropy_pruning": [1e-9]})
    assert named.compute_digest() != manifest.compute_digest() == tiny_model.digest
    assert len({prune_by_entropy(tiny_model, tmp_path / f"{t}", t).digest for t in (1, 2)}) == 2


def test_what_cannot_be_pruned(
    tiny_model: NgramModel, tiny_model_path: Path, tmp_path: Path
) -> None:
    for threshold in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(OptionError, match=f"below a rise of {threshold:g}"):
            prune_by_entropy(tiny_model, tmp_path / "pruned", threshold)
    quantize(tiny_model, tmp_path / "q", 4)
    with pytest.raises(ModelError, match=r"(?s)quantised already.*Prune the exact model"):
        prune_by_entropy(lmserve.load(tmp_path / "q"), tmp_path / "pruned", 1e-8)
    with pytest.raises(ModelError, match="exists already"):
        prune_by_entropy(tiny_model, tmp_path / "q", 1e-8)
    scores = tiny_model.manifest.model_copy(update={"smoothing": "stupid-backoff"})
    tiny_model_of_scores = NgramModel(tiny_model_path, scores)
    with pytest.raises(ModelError, match="no probabilities"):
        prune_by_entropy(tiny_model_of_scores, tmp_path / "pruned", 1e-8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q"]
