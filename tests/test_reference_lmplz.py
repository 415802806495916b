"""The reference against KenLM's lmplz, where there is one."""

import random
from pathlib import Path

import pytest
from corpora import zipf_text
from lmplz import TOLERANCE_LOG10, lmplz, needs_lmplz
from reference import reference
from reference_counts import BOS

pytestmark = needs_lmplz


def assert_same(text: str, order: int, *options: str, prune: tuple[int, ...], folder: Path) -> None:
    thresholds = [str(threshold) for threshold in prune]
    found, discounts = lmplz(text, order, "--prune", *thresholds, *options, folder=folder)
    sentences = [line.encode().split() for line in text.removesuffix("\n").split("\n")]
    # Its discounts are given: it counts the counts of unigrams in another way (docs/design.md).
    model = reference(sentences, order, prune=prune, discounts=discounts)
    expected = model.log10_ngrams()
    assert found.keys() == expected.keys()
    for ngram, (log10_prob, log10_backoff) in expected.items():
        if ngram != (BOS,):  # which lmplz gives probability 1 instead of 0
            assert found[ngram][0] == pytest.approx(log10_prob, abs=TOLERANCE_LOG10), ngram
        if log10_backoff is not None:
            assert found[ngram][1] == pytest.approx(log10_backoff, abs=TOLERANCE_LOG10), ngram


@pytest.mark.parametrize("prune", [(0,), (0, 0, 1), (0, 1, 1), (0, 1, 2, 3), (1,), (2, 5)])
def test_pruned_models_are_the_same(prune: tuple[int, ...], tmp_path: Path) -> None:
    assert_same(zipf_text(2000, words=400), 4, prune=prune, folder=tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_small_texts_are_the_same(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    lines = [" ".join(rng.choices("abcd", k=rng.randrange(7))) for _ in range(rng.randrange(4, 15))]
    order = rng.randrange(1, 6)
    prune = tuple(sorted(rng.choices(range(3), k=order)))
    fallback = ("--discount_fallback", "0.3", "0.9", "1.1")
    assert_same("\n".join(lines) + "\n", order, *fallback, prune=prune, folder=tmp_path)


def test_discounts_of_every_order_but_the_first_are_the_same(tmp_path: Path) -> None:
    text = zipf_text(2000, words=400)
    _, printed = lmplz(text, 4, folder=tmp_path)
    model = reference([line.encode().split() for line in text.splitlines()], 4)
    for k in (2, 3, 4):
        assert model.discounts[k] == pytest.approx(printed[k - 1], rel=1e-5)
