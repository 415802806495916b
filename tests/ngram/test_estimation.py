"""The tables against the plain reference, which shares no code with them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpora import zipf_text
from estimating_models import assert_same, estimate, join, sentences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import modified_kneser_ney, reference

from cluster.build import build
from cluster.config import BuildConfig
from lmserve.errors import DiscountError
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS, Discounts
from lmserve.ngram.model import NgramModel
from lmserve.ngram.smoothing_methods import Smoothing, SmoothingOptions
from lmserve.text.special_tokens import SpecialTokens

FALLBACK = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS)


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
@pytest.mark.parametrize("smoothing", list(Smoothing))
def test_every_method_equals_the_reference(smoothing: Smoothing, order: int) -> None:
    text = zipf_text(400).encode()
    model = estimate(text, order, smoothing=smoothing)
    expected = reference(sentences(text), order, str(smoothing))
    assert_same(model, expected)
    for k in range(1, order + 1):
        assert tuple(model.manifest.counts_of_counts[k - 1]) == expected.counts_of_counts[k]


def test_options_of_methods_equal_the_reference() -> None:
    text = zipf_text(300).encode()
    added = estimate(text, 3, smoothing=Smoothing.ADD_K, options=SmoothingOptions(add_k=0.5))
    assert_same(added, reference(sentences(text), 3, "add-k", k=0.5))
    options = SmoothingOptions(backoff_factor=0.7)
    backed = estimate(text, 3, smoothing=Smoothing.STUPID_BACKOFF, options=options)
    assert_same(backed, reference(sentences(text), 3, "stupid-backoff", backoff_factor=0.7))
    discounts = ((0.2, 0.4, 0.6), (0.5, 1.0, 1.5), (0.9, 1.8, 2.7))
    options = SmoothingOptions(discounts=tuple(Discounts(*given) for given in discounts))
    given_ones = estimate(text, 3, options=options)
    assert_same(given_ones, reference(sentences(text), 3, discounts=discounts))


def test_counted_unk_equals_the_reference() -> None:
    text = zipf_text(500).replace("w3 ", "<unk> ").encode()
    model = estimate(text, 3, special_tokens=SpecialTokens.KEEP_UNK)
    assert_same(model, modified_kneser_ney(sentences(text), 3, count_unk=True))


words = st.sampled_from([b"a", b"b", b"c", b"\xff\xfe", "ü".encode(), b"longer-word"])
texts = st.lists(st.lists(words, max_size=8), min_size=1, max_size=12).filter(any)
no_health_check = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(texts, st.integers(1, 6), st.integers(1, 7), st.sampled_from(list(Smoothing)))
@no_health_check
def test_any_small_text_equals_the_reference(
    text: list[list[bytes]], order: int, workers: int, smoothing: Smoothing
) -> None:
    model = estimate(join(text), order, smoothing=smoothing, options=FALLBACK, workers=workers)
    expected = reference(text, order, str(smoothing), discount_fallback=tuple(FALLBACK_DISCOUNTS))
    assert_same(model, expected)
    for line in text[:3]:
        check_scores(model, expected.score, b" ".join(line))
    check_scores(model, expected.score, b"a zzz b c a")


def check_scores(
    model: NgramModel, score: Callable[[bytes], list[tuple[float, int, bool]]], sentence: bytes
) -> None:
    """Words, their n-gram lengths and the sum of the sentence."""
    found = model.score_words(sentence)
    expected = score(sentence)
    assert [(word.ngram_length, word.oov) for word in found] == [row[1:] for row in expected]
    scores = [row[0] for row in expected]
    assert [word.log10_prob for word in found] == pytest.approx(scores, rel=1e-6, abs=1e-6)
    total = sum(word.log10_prob for word in found)
    assert model.score(sentence) == pytest.approx(total, rel=1e-12)


@given(texts, st.integers(1, 5), st.lists(words | st.just(b"zzz"), max_size=6))
@no_health_check
def test_probabilities_of_a_context_sum_to_1(
    text: list[list[bytes]], order: int, context: list[bytes]
) -> None:
    model = estimate(join(text), order, options=FALLBACK)
    for bos in (True, False):
        distribution = model.distribution(b" ".join(context), bos=bos)
        assert distribution.sum() == pytest.approx(1, abs=1e-6)
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
        shards.append(next(stage["tasks"] for stage in stages if stage["name"] == "count"))
    assert len(digests) == 1
    # Four for each worker, so that the last ones to end do not leave the others idle for long.
    assert 4 <= shards[0] < 12 <= shards[1] < 40 < shards[2]
