"""Models without their rare n-grams, or with fewer words, against the plain reference."""

from pathlib import Path

import pytest
from corpora import zipf_text
from estimating_models import assert_same, estimate, join, sentences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmplz import TOLERANCE_LOG10, lmplz, needs_lmplz
from model_ngrams import model_ngrams
from reference import reference

from lmserve.errors import InputError, OptionError
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS, Discounts
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.ngram.smoothing_methods import Smoothing, SmoothingOptions

FALLBACK = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS)
words = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
texts = st.lists(st.lists(words, max_size=8), min_size=1, max_size=30).filter(any)
no_health_check = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("smoothing", list(Smoothing))
@pytest.mark.parametrize("prune", [(0, 0, 1), (0, 1, 1, 2), (0, 2)])
def test_every_method_is_pruned_as_the_reference_is(
    smoothing: Smoothing, prune: tuple[int, ...]
) -> None:
    text = zipf_text(400).encode()
    model = estimate(text, 4, smoothing=smoothing, prune=prune)
    expected = reference(sentences(text), 4, str(smoothing), prune=prune)
    assert_same(model, expected)
    assert model.manifest.pruning == [*prune, *[prune[-1]] * (4 - len(prune))]
    for k in range(1, 5):
        # Of the whole text, whatever is left out.
        assert tuple(model.manifest.counts_of_counts[k - 1]) == expected.counts_of_counts[k]


@given(
    texts,
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.sampled_from(list(Smoothing)),
    st.sampled_from([None, 1, 5]),
)
@no_health_check
def test_any_small_text_pruned_equals_the_reference(
    text: list[list[bytes]],
    thresholds: list[int],
    smoothing: Smoothing,
    shard_records: int | None,
) -> None:
    order = len(thresholds)
    prune = (0, *sorted(thresholds[1:]))
    model = estimate(
        join(text),
        order,
        smoothing=smoothing,
        prune=prune,
        options=FALLBACK,
        shard_records=shard_records,
        workers=2,
    )
    expected = reference(
        text, order, str(smoothing), prune=prune, discount_fallback=tuple(FALLBACK_DISCOUNTS)
    )
    assert_same(model, expected)
    if smoothing is not Smoothing.STUPID_BACKOFF:
        for line in text[:2]:
            distribution = model.distribution(b" ".join(line[:3]))
            assert distribution.sum() == pytest.approx(1, abs=1e-5)


@needs_lmplz
@pytest.mark.parametrize("prune", [(0, 0, 1), (0, 1, 2, 3)])
def test_a_pruned_model_is_that_of_lmplz(tmp_path: Path, prune: tuple[int, ...]) -> None:
    text = zipf_text(2000, words=400)
    found, discounts = lmplz(text, 4, "--prune", *map(str, prune), folder=tmp_path)
    # Its discounts are given: it counts the counts of unigrams in another way (docs/design.md).
    options = SmoothingOptions(discounts=tuple(Discounts(*of_order) for of_order in discounts))
    expected = model_ngrams(estimate(text.encode(), 4, prune=prune, options=options))
    assert found.keys() == expected.keys()
    for ngram, (log10_prob, log10_backoff) in expected.items():
        if ngram != (b"<s>",):  # which lmplz gives probability 1 instead of 0
            assert found[ngram][0] == pytest.approx(log10_prob, abs=TOLERANCE_LOG10), ngram
        assert (found[ngram][1] or 0) == pytest.approx(log10_backoff or 0, abs=TOLERANCE_LOG10)


def test_thresholds_of_nothing_change_nothing() -> None:
    text = zipf_text(500).encode()
    assert estimate(text, 3, prune=(0, 0)).digest == estimate(text, 3).digest


def test_a_model_without_any_ngram_is_its_unigrams() -> None:
    model = estimate(zipf_text(500).encode(), 4, prune=(0, 10_000))
    assert model.manifest.ngrams[1:] == [0, 0, 0]
    assert model.distribution("w0 w1").sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [1, 5, 40, 10_000])
def test_the_most_frequent_words_are_counted_as_themselves(size: int) -> None:
    text = zipf_text(400).encode()
    model = estimate(text, 3, vocabulary=VocabularyLimit(size=size), options=FALLBACK)
    expected = reference(
        sentences(text), 3, vocabulary=size, discount_fallback=tuple(FALLBACK_DISCOUNTS)
    )
    assert_same(model, expected)
    assert len(model.vocabulary) == min(size, len(set(text.split()))) + 3


@given(texts, st.integers(1, 6), st.integers(1, 4))
@no_health_check
def test_any_small_vocabulary_equals_the_reference(
    text: list[list[bytes]], size: int, order: int
) -> None:
    method = Smoothing.WITTEN_BELL
    model = estimate(join(text), order, smoothing=method, vocabulary=VocabularyLimit(size=size))
    assert_same(model, reference(text, order, str(method), vocabulary=size))


def test_words_of_a_file_are_counted_as_themselves(tmp_path: Path) -> None:
    text = zipf_text(400).encode()
    path = tmp_path / "words"
    path.write_bytes(b"w0 w7\tw1\r\nnever-seen\n<unk> </s>\n\nw33 w0")
    model = estimate(text, 3, vocabulary=VocabularyLimit(file=path), options=FALLBACK)
    named = {b"w0", b"w1", b"w7", b"w33"}
    expected = reference(
        sentences(text), 3, vocabulary=named, discount_fallback=tuple(FALLBACK_DISCOUNTS)
    )
    assert_same(model, expected)
    assert set(model.vocabulary) == named | {b"<unk>", b"<s>", b"</s>"}


def test_a_vocabulary_that_the_text_does_not_hold_leaves_unknown_words(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"")
    limit = VocabularyLimit(file=path)
    model = estimate(b"a b\nc\n", 2, vocabulary=limit, smoothing=Smoothing.WITTEN_BELL)
    assert list(model.vocabulary) == [b"<unk>", b"<s>", b"</s>"]
    assert_same(model, reference([[b"a", b"b"], [b"c"]], 2, "witten-bell", vocabulary=[]))


def test_a_vocabulary_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="size is 0"):
        VocabularyLimit(size=0)
    with pytest.raises(OptionError, match="either --vocab-size or --vocab-file"):
        VocabularyLimit(size=5, file=tmp_path)
    with pytest.raises(InputError, match="missing' cannot be read"):
        estimate(b"a\n", 2, vocabulary=VocabularyLimit(file=tmp_path / "missing"))
