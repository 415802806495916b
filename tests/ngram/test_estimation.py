"""The tables against the plain reference, which shares no code with them."""

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corpora import zipf_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import ReferenceModel, maximum_likelihood, modified_kneser_ney

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.errors import DiscountError
from lmserve.ngram.arpa import ngrams_of_order
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.model import NgramModel
from lmserve.ngram.smoothing import Smoothing
from lmserve.text.special_tokens import SpecialTokens

TOLERANCE = 1e-9


def estimate(text: bytes, order: int, **settings: object) -> NgramModel:
    """Builds a model of a text in this process, and loads it before its folder goes away."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(text)
        config = BuildConfig(inputs=(str(path),), output=Path(folder) / "model", order=order)
        build(replace(config, **settings), on_ray=False)  # type: ignore[arg-type]
        return lmserve.load(config.output, check=True)


def sentences(text: bytes) -> list[list[bytes]]:
    return [line.split() for line in text.removesuffix(b"\n").split(b"\n")]


def assert_same(model: NgramModel, reference: ReferenceModel) -> None:
    """Every n-gram, probability and backoff weight of both is the same."""
    expected = {
        ngram: (prob, backoff) for ngram, prob, backoff in reference.ngrams() if ngram != (b"<s>",)
    }
    found = set()
    for k in range(1, model.order + 1):
        for ids, log10_probs, log10_backoffs in ngrams_of_order(model, k):
            for row, log10_prob, log10_backoff in zip(
                ids, log10_probs, log10_backoffs, strict=True
            ):
                ngram = tuple(model.vocabulary[word] for word in row)
                if ngram == (b"<s>",):
                    continue
                prob, backoff = expected[ngram]
                assert 10**log10_prob == pytest.approx(prob, rel=TOLERANCE, abs=1e-300), ngram
                if not math.isnan(log10_backoff):
                    assert 10**log10_backoff == pytest.approx(backoff, rel=TOLERANCE), ngram
                else:
                    assert backoff in (None, 1.0), ngram
                found.add(ngram)
    assert found == set(expected)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_modified_kneser_ney_equals_the_reference(order: int) -> None:
    text = zipf_text(500).encode()
    model = estimate(text, order)
    reference = modified_kneser_ney(sentences(text), order)
    assert_same(model, reference)
    for k in range(1, order + 1):
        assert model.manifest.discounts[k - 1] == pytest.approx(reference.discounts[k])
        assert tuple(model.manifest.counts_of_counts[k - 1]) == reference.counts_of_counts[k]


@pytest.mark.parametrize("order", [1, 2, 4])
def test_maximum_likelihood_equals_the_reference(order: int) -> None:
    text = zipf_text(200).encode()
    model = estimate(text, order, smoothing=Smoothing.MAXIMUM_LIKELIHOOD)
    assert_same(model, maximum_likelihood(sentences(text), order))
    # What the manifest says of the text does not depend on the smoothing.
    reference = modified_kneser_ney(
        sentences(text), order, discount_fallback=tuple(FALLBACK_DISCOUNTS)
    )
    for k in range(1, order + 1):
        assert tuple(model.manifest.counts_of_counts[k - 1]) == reference.counts_of_counts[k]


def test_counted_unk_equals_the_reference() -> None:
    text = zipf_text(500).replace("w3 ", "<unk> ").encode()
    model = estimate(text, 3, special_tokens=SpecialTokens.KEEP_UNK)
    assert_same(model, modified_kneser_ney(sentences(text), 3, count_unk=True))


words = st.sampled_from([b"a", b"b", b"c", b"\xff\xfe", "ü".encode(), b"longer-word"])
texts = st.lists(st.lists(words, max_size=8), min_size=1, max_size=12).filter(any)
no_health_check = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(texts, st.integers(1, 6), st.integers(1, 7))
@no_health_check
def test_any_small_text_equals_the_reference(
    text: list[list[bytes]], order: int, shards: int
) -> None:
    joined = b"\n".join(b" ".join(line) for line in text) + b"\n"
    model = estimate(joined, order, discount_fallback=FALLBACK_DISCOUNTS, workers=shards)
    reference = modified_kneser_ney(text, order, discount_fallback=tuple(FALLBACK_DISCOUNTS))
    assert_same(model, reference)
    for line in text[:3]:
        check_scores(model, reference.score, b" ".join(line))
    check_scores(model, reference.score, b"a zzz b c a")


def check_scores(
    model: NgramModel, score: Callable[[bytes], list[tuple[float, int, bool]]], sentence: bytes
) -> None:
    """Words, their n-gram lengths and the sum of the sentence."""
    found = model.score_words(sentence)
    expected = score(sentence)
    assert [(word.ngram_length, word.oov) for word in found] == [row[1:] for row in expected]
    assert [word.log10_prob for word in found] == pytest.approx([row[0] for row in expected])
    total = sum(word.log10_prob for word in found)
    assert model.score(sentence) == pytest.approx(total, rel=1e-12)


@given(texts, st.integers(1, 5), st.lists(words | st.just(b"zzz"), max_size=6))
@no_health_check
def test_probabilities_of_a_context_sum_to_1(
    text: list[list[bytes]], order: int, context: list[bytes]
) -> None:
    joined = b"\n".join(b" ".join(line) for line in text)
    model = estimate(joined, order, discount_fallback=FALLBACK_DISCOUNTS)
    for bos in (True, False):
        distribution = model.distribution(b" ".join(context), bos=bos)
        assert distribution.sum() == pytest.approx(1, abs=1e-12)
        assert distribution[1] == 0


def test_the_distribution_is_what_scoring_says() -> None:
    model = estimate(zipf_text(500, words=900).encode(), 4)
    for context in ("", "w0", "w1 w0 w0", "w2 never-seen w0"):
        distribution = model.distribution(context)
        for word_id, word in enumerate(model.vocabulary):
            if word_id > 2:
                scored = model.score_words(context.encode() + b" " + word, eos=False)[-1]
                assert np.log10(distribution[word_id]) == pytest.approx(scored.log10_prob)


def test_a_text_too_small_for_discounts_is_refused_with_its_counts() -> None:
    with pytest.raises(DiscountError, match=r"order 1.*are 4, 0, 0, 0") as error:
        estimate(b"a b c\na b c\n", 2)
    assert "--discount-fallback" in error.value.remedy


def test_the_model_does_not_depend_on_shards_or_pieces(tmp_path: Path) -> None:
    text = zipf_text(3000, length=40)
    half = text.index("\n", len(text) // 2) + 1
    (tmp_path / "whole").write_text(text)
    (tmp_path / "1").write_text(text[:half])
    (tmp_path / "2").write_text(text[half:])
    digests, shards = set(), []
    for i, (inputs, workers) in enumerate([("whole", 1), ("whole", 3), ("?", 20)]):
        output = tmp_path / f"model-{i}"
        config = BuildConfig(inputs=(str(tmp_path / inputs),), output=output, workers=workers)
        digests.add(build(config, on_ray=False).digest)
        stages = json.loads((output / "build.json").read_text())["stages"]
        shards.append(next(stage["tasks"] for stage in stages if stage["name"] == "adjust"))
    assert len(digests) == 1
    assert shards[:2] == [1, 3]
    assert shards[2] > 10
