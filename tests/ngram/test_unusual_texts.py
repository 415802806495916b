"""Texts and settings at the ends of what can be built."""

import itertools
import random

import pytest
from corpora import zipf_text
from estimating_models import assert_same, estimate, join, sentences
from reference import reference

from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.ngram.records import RecordLayout
from lmserve.ngram.smoothing_methods import Smoothing, SmoothingOptions

FALLBACK = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS)


@pytest.mark.parametrize("order", [1, 2, 5, 10])
@pytest.mark.parametrize(
    "text",
    [
        [[b"a"]],
        [[b"a"], [], [], []],
        [[b"a"], [b"b"], [b"a"]],
        [[b"a"] * 50],
        [[b"a", b"b"] * 20, [b"b"]],
        [[b"w%d" % i for i in range(50)]],
        [[b"w%d" % i] for i in range(30)],
    ],
    ids=["one word", "empty lines", "short", "repeated", "regular", "distinct", "distinct lines"],
)
@pytest.mark.parametrize("shard_records", [None, 1])
def test_a_text_equals_the_reference(
    text: list[list[bytes]], order: int, shard_records: int | None
) -> None:
    model = estimate(join(text), order, options=FALLBACK, shard_records=shard_records)
    fallback = tuple(FALLBACK_DISCOUNTS)
    assert_same(model, reference(text, order, discount_fallback=fallback))


@pytest.mark.parametrize("order", [1, 2, 5])
def test_one_word_a_million_times(order: int) -> None:
    model = estimate(b"a " * 1_000_000, order, options=FALLBACK)
    assert model.manifest.words == 1_000_000
    # Of each order: in the middle, after <s>, and before </s>.
    assert model.manifest.ngrams == [4, 3, 3, 3, 3][:order]
    assert model.distribution("a a a a").sum() == pytest.approx(1, abs=1e-6)
    assert 10 ** model.score("a", bos=False, eos=False) == pytest.approx(
        model.distribution("", bos=False)[3]
    )


def test_a_sentence_of_a_million_words() -> None:
    rng = random.Random(3)
    words = [b"w%d" % int(1000 ** rng.random()) for _ in range(1_000_000)]
    model = estimate(b" ".join(words), 3, options=FALLBACK)
    assert model.manifest.sentences == 1
    bigrams = set(itertools.pairwise(words))
    assert model.manifest.ngrams[1] == len(bigrams) + 2
    trigrams = set(zip(words, words[1:], words[2:], strict=False))
    assert model.manifest.ngrams[2] == len(trigrams) + 2
    assert model.distribution("w1 w2").sum() == pytest.approx(1, abs=1e-6)


def test_all_words_distinct() -> None:
    words = [b"w%d" % i for i in range(300_000)]
    model = estimate(b" ".join(words), 3, smoothing=Smoothing.WITTEN_BELL)
    assert model.manifest.ngrams == [300_003, 300_001, 300_000]
    assert model.distribution("w17 w18").argmax() == model.vocabulary.find(b"w19")


@pytest.mark.parametrize("words", [2, 100, 70_000])
def test_records_of_several_columns(words: int) -> None:
    """From three columns of 25-bit ids down to one of narrow ids."""
    rng = random.Random(words)
    text = [[b"w%d" % int(words ** rng.random()) for _ in range(30)] for _ in range(60)]
    rest = [b"v%d" % i for i in range(words)]
    model = estimate(join([*text, rest]), 10, options=FALLBACK)
    fallback = tuple(FALLBACK_DISCOUNTS)
    if words < 70_000:
        assert_same(model, reference([*text, rest], 10, discount_fallback=fallback))
    else:
        assert RecordLayout(10, len(model.vocabulary)).columns == 4
        contexts = [b" ".join(line[:k]) for line, k in zip(text[:20], range(20), strict=False)]
        for context in contexts:
            assert model.distribution(context).sum() == pytest.approx(1, abs=1e-5)


SKEWED = [
    line + " the the of the" * (number % 3)
    for number, line in enumerate(zipf_text(400, words=60).splitlines())
]


@pytest.mark.parametrize("smoothing", [Smoothing.MODIFIED_KNESER_NEY, Smoothing.WITTEN_BELL])
@pytest.mark.parametrize("prune", [(0,), (0, 1, 2)])
def test_split_words_change_nothing(smoothing: Smoothing, prune: tuple[int, ...]) -> None:
    text = "\n".join(SKEWED).encode()
    settings = {"smoothing": smoothing, "prune": prune, "options": FALLBACK}
    whole = estimate(text, 4, **settings)
    fallback = tuple(FALLBACK_DISCOUNTS)
    expected = reference(
        sentences(text), 4, str(smoothing), prune=prune, discount_fallback=fallback
    )
    assert_same(whole, expected)
    # Words that are split once, and such as are split to the end.
    for shard_records in (200, 30):
        split = estimate(text, 4, shard_records=shard_records, workers=2, **settings)
        assert split.digest == whole.digest, shard_records


def test_split_sentence_beginnings_change_nothing() -> None:
    """`<s>` is split by the token after it, for nothing stands before it."""
    text = b"\n".join(b"w%d w%d" % (i % 7, i % 11) for i in range(1000))
    for order in (2, 3, 5):
        digests = {
            estimate(text, order, options=FALLBACK, shard_records=limit).digest
            for limit in (None, 300, 10)
        }
        assert len(digests) == 1


def test_a_split_limited_vocabulary_changes_nothing() -> None:
    text = "\n".join(SKEWED).encode()
    limit = VocabularyLimit(size=7)
    digests = {
        estimate(text, 3, vocabulary=limit, options=FALLBACK, shard_records=records).digest
        for records in (None, 50)
    }
    assert len(digests) == 1
