"""The reference against numbers worked out on paper, and against what every model must satisfy."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceModel, maximum_likelihood, modified_kneser_ney
from reference_counts import BOS, EOS, UNK, Ngram
from reference_methods import published_discounts

F = Fraction
FALLBACK = (0.5, 1.0, 1.5)

words = st.sampled_from([b"a", b"b", b"c", b"d"])
corpora = st.lists(st.lists(words, max_size=6), max_size=8)
orders = st.integers(1, 5)


def lines(*texts: str) -> list[list[bytes]]:
    return [text.encode().split() for text in texts]


def contexts(model: ReferenceModel) -> list[Ngram]:
    """Every seen context, and some never seen: too long, ending in </s>, with an unknown word."""
    return [*model.followers, (), (b"d",) * 7, (b"a", EOS), (b"z", b"a"), (b"a", b"z"), (UNK,)]


# Paper 1. Sentences "a a", "b", "b", "b a", "b"; order 2; V = {<unk>, </s>, a, b}.
#
# Bigrams:  <s> a 1 | <s> b 4 | a a 1 | a </s> 2 | b a 1 | b </s> 3
#           t = (3, 1, 1, 1)   Y = 3 / (3 + 2) = 3/5
#           D1 = 1 - 2 * 3/5 * 1/3 = 3/5   D2 = 2 - 3 * 3/5 * 1/1 = 1/5   D3 = 3 - 4 * 3/5 = 3/5
# Unigrams: a 3 (after <s>, a, b) | </s> 2 (after a, b) | b 1 (after <s>) | sum 6
#           t = (1, 1, 1, 0)   Y = 1 / (1 + 2) = 1/3
#           D1 = 1 - 2/3 = 1/3   D2 = 2 - 1 = 1   D3 = 3 - 0 = 3
# Nothing:  g() = (D1 + D2 + D3) / 6 = 13/3 / 6 = 13/18; times the uniform 1/4: 13/72
#           p(a) = 0/6 + 13/72 = 13/72          p(</s>) = (2 - 1)/6 + 13/72 = 25/72
#           p(b) = (1 - 1/3)/6 + 13/72 = 21/72  p(<unk>) = 13/72
# After b:  sum 4, g = (3/5 + 3/5) / 4 = 3/10
#           p(</s>) = (3 - 3/5)/4 + 3/10 * 25/72 = 169/240   p(b) = 3/10 * 21/72 = 21/240
#           p(a) = (1 - 3/5)/4 + 3/10 * 13/72 = 37/240       p(<unk>) = 13/240
# After a:  sum 3, g = (3/5 + 1/5) / 3 = 4/15
#           p(a) = (1 - 3/5)/3 + 4/15 * 13/72 = 49/270
#           p(</s>) = (2 - 1/5)/3 + 4/15 * 25/72 = 187/270
# At <s>:   sum 5, g = (3/5 + 3/5) / 5 = 6/25
#           p(b) = (4 - 3/5)/5 + 6/25 * 21/72 = 3/4   p(a) = (1 - 3/5)/5 + 6/25 * 13/72 = 37/300
PAPER = lines("a a", "b", "b", "b a", "b")
PAPER_NGRAMS: dict[Ngram, tuple[F, F | None]] = {
    (UNK,): (F(13, 72), F(1)),
    (BOS,): (F(0), F(6, 25)),
    (EOS,): (F(25, 72), F(1)),
    (b"a",): (F(13, 72), F(4, 15)),
    (b"b",): (F(21, 72), F(3, 10)),
    (BOS, b"a"): (F(37, 300), None),
    (BOS, b"b"): (F(3, 4), None),
    (b"a", b"a"): (F(49, 270), None),
    (b"a", EOS): (F(187, 270), None),
    (b"b", b"a"): (F(37, 240), None),
    (b"b", EOS): (F(169, 240), None),
}


def test_bigram_kneser_ney_on_paper() -> None:
    model = modified_kneser_ney(PAPER, 2)
    assert model.counts_of_counts[1:] == [(1, 1, 1, 0), (3, 1, 1, 1)]
    assert model.discounts[1] == pytest.approx((F(1, 3), F(1), F(3)))
    assert model.discounts[2] == pytest.approx((F(3, 5), F(1, 5), F(3, 5)))
    found = {ngram: (prob, backoff) for ngram, prob, backoff in model.ngrams()}
    assert found.keys() == PAPER_NGRAMS.keys()
    for ngram, (prob, backoff) in PAPER_NGRAMS.items():
        assert found[ngram][0] == pytest.approx(prob, rel=1e-15), ngram
        assert found[ngram][1] == (None if backoff is None else pytest.approx(backoff)), ngram
    assert model.backoff(()) == pytest.approx(F(13, 18))
    assert model.prob((b"b",), b"b") == pytest.approx(F(21, 240))
    assert model.prob((b"a", b"a", b"b"), b"z") == pytest.approx(F(13, 240))


def test_scores_on_paper() -> None:
    # p(b|<s>) = 3/4 by a bigram; p(<unk>|b) = 13/240 and p(</s>) = 25/72 by unigrams.
    model = modified_kneser_ney(PAPER, 2)
    expected = [(F(3, 4), 2, False), (F(13, 240), 1, True), (F(25, 72), 1, False)]
    for sentence in (b"b z", b" b\tz\r\n", b"b \v\f\xc2\xa0", b"b </s>", b"b <s>", b"b <unk>"):
        scores = model.score(sentence)
        assert [score[1:] for score in scores] == [score[1:] for score in expected]
        assert [10 ** score[0] for score in scores] == pytest.approx([p for p, _, _ in expected])
    [(log10_prob, length, oov)] = model.score(b"b", bos=False, eos=False)
    assert 10**log10_prob == pytest.approx(F(21, 72))
    assert (length, oov) == (1, False)
    assert [length for _, length, _ in model.score(b"")] == [1]


# Paper 2. Sentences "a b", "a"; order 3. `<s> a` starts the sentence and keeps its raw count 2,
# `a b` and the others have one left neighbour each; <s> is a left neighbour like any other.
def test_adjusted_counts_on_paper() -> None:
    model = modified_kneser_ney(lines("a b", "a"), 3, discount_fallback=FALLBACK)
    assert model.adjusted[1] == {(b"a",): 1, (b"b",): 1, (EOS,): 2}
    assert model.adjusted[2] == {(BOS, b"a"): 2, (b"a", b"b"): 1, (b"b", EOS): 1, (b"a", EOS): 1}
    assert model.adjusted[3] == {(BOS, b"a", b"b"): 1, (b"a", b"b", EOS): 1, (BOS, b"a", EOS): 1}
    assert model.raw[1] == {(b"a",): 2, (b"b",): 1, (EOS,): 2}
    # g() = (2 D1 + D2) / 4 = 1/2, p(b) = (1 - 1/2)/4 + 1/2 * 1/4 = 1/4
    # After a: g = 2 D1 / 2 = 1/2, p(b|a) = (1 - 1/2)/2 + 1/2 * 1/4 = 3/8; after <s> a the same
    # counts again: p(b|<s> a) = 1/4 + 1/2 * 3/8 = 7/16
    assert model.prob((BOS, b"a"), b"b") == pytest.approx(F(7, 16))
    # Nothing ever followed `b a`, so that it backs off to `a` at no cost.
    assert model.prob((b"b", b"a"), b"b") == pytest.approx(F(3, 8))
    assert [length for _, length, _ in model.score(b"a b")] == [2, 3, 3]


def test_unigram_order_takes_raw_counts() -> None:
    model = modified_kneser_ney(lines("a b", "a"), 1, discount_fallback=FALLBACK)
    assert model.adjusted[1] == {(b"a",): 2, (b"b",): 1, (EOS,): 2}
    # g() = (D1 + 2 D2) / 5 = 1/2; p(a) = (2 - 1)/5 + 1/2 * 1/4 = 13/40
    assert model.prob((BOS, b"b"), b"a") == pytest.approx(F(13, 40))


def test_maximum_likelihood_on_paper() -> None:
    model = maximum_likelihood(lines("a b", "a a"), 2)
    assert model.prob((BOS,), b"a") == 1
    assert model.prob((b"a",), b"a") == pytest.approx(F(1, 3))
    assert model.prob((), b"a") == pytest.approx(F(3, 6))
    assert model.prob((b"b",), b"a") == 0
    assert model.prob((b"z",), b"a") == pytest.approx(F(3, 6))
    assert (model.backoff((b"a",)), model.backoff((b"z",)), model.backoff((EOS,))) == (0, 1, 1)
    assert model.score(b"z")[0] == (-math.inf, 1, True)


def test_counted_unk_is_an_ordinary_word() -> None:
    text = lines("a <unk>", "<unk> b")
    model = modified_kneser_ney(text, 2, count_unk=True, discount_fallback=FALLBACK)
    assert model.adjusted[1][(UNK,)] == 2
    assert model.score(b"a <unk>")[1][1:] == (2, False)
    # A word never seen is scored as <unk> is, before and after it, yet is out of the vocabulary.
    first, second, end = model.score(b"a <unk>")
    assert model.score(b"a z") == [first, (*second[:2], True), end]
    renamed = [[word.replace(UNK, b"c") for word in sentence] for sentence in text]
    other = modified_kneser_ney(renamed, 2, discount_fallback=FALLBACK)
    assert model.counts_of_counts == other.counts_of_counts


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        ((3, 1, 1, 1), (F(3, 5), F(1, 5), F(3, 5))),
        ((1, 1, 1, 0), (F(1, 3), F(1), F(3))),
        ((5, 3, 2, 0), (F(5, 11), F(12, 11), F(3))),
        # Y = 100/140 = 5/7; D1 = 5/7; D2 = 2 - 3 * 5/7 / 2 = 13/14; D3 = 3 - 4 * 5/7 / 2 = 11/7
        ((100, 20, 10, 5), (F(5, 7), F(13, 14), F(11, 7))),
    ],
)
def test_discounts_on_paper(t: tuple[int, int, int, int], expected: tuple[F, F, F]) -> None:
    assert published_discounts(t) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    "t", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (9, 1, 9, 1), (9, 1, 1, 9)]
)
def test_discounts_that_do_not_exist(t: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="counts of counts"):
        published_discounts(t)


@given(st.tuples(*[st.integers(1, 10**6)] * 3, st.integers(0, 10**6)))
def test_discounts_are_in_range_or_refused(t: tuple[int, int, int, int]) -> None:
    try:
        discounts = published_discounts(t)
    except ValueError:
        return
    assert all(0 <= d <= k for k, d in enumerate(discounts, start=1))
    # What is left for the first discount when Y is put in: D1 = Y.
    assert discounts[0] == pytest.approx(t[0] / (t[0] + 2 * t[1]))


def test_fallback_replaces_only_the_orders_that_need_it() -> None:
    model = modified_kneser_ney(PAPER, 3, discount_fallback=FALLBACK)
    assert model.discounts[3] == FALLBACK != model.discounts[1]
    with pytest.raises(ValueError, match="counts of counts"):
        modified_kneser_ney(PAPER, 3)
    with pytest.raises(ValueError, match="must lie between"):
        modified_kneser_ney(PAPER, 3, discount_fallback=(0.5, 1.0, 3.5))


@pytest.mark.parametrize("word", ["<s>", "</s>", "<unk>"])
def test_reserved_words_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        maximum_likelihood(lines(f"a {word}"), 2)
    with pytest.raises(ValueError, match="order 0"):
        maximum_likelihood(lines("a"), 0)


@given(corpora, orders)
def test_every_context_sums_to_one(corpus: list[list[bytes]], order: int) -> None:
    for model in (
        modified_kneser_ney(corpus, order, discount_fallback=FALLBACK),
        maximum_likelihood(corpus, order),
    ):
        for context in contexts(model):
            probs = [model.prob(context, word) for word in model.vocabulary]
            assert min(probs) >= 0
            assert abs(math.fsum(probs) - 1) < 1e-12, context


@given(corpora, orders)
def test_counts_are_monotonic(corpus: list[list[bytes]], order: int) -> None:
    model = modified_kneser_ney(corpus, order, discount_fallback=FALLBACK)
    assert sum(model.raw[1].values()) == sum(len(sentence) + 1 for sentence in corpus)
    if order > 1:
        assert sum(model.adjusted[1].values()) == len(model.raw[2])
    for k in range(1, order + 1):
        assert model.adjusted[k].keys() == model.raw[k].keys()
        for ngram, count in model.raw[k].items():
            assert 1 <= model.adjusted[k][ngram] <= count
            assert k == 1 or count <= model.raw[k - 1][ngram[1:]]


@given(corpora, orders)
def test_probabilities_are_monotonic(corpus: list[list[bytes]], order: int) -> None:
    model = modified_kneser_ney(corpus, order, discount_fallback=FALLBACK)
    for context in contexts(model):
        assert 0 <= model.backoff(context) <= 1
        for word in [*model.vocabulary, b"z"]:
            prob = model.prob(context, word)
            # 0 is possible: where D2 = 0 and only words with count 2 follow, nothing is left over.
            assert 0 <= prob <= 1 + 1e-12
            if 0 < len(context) < order:
                lower = model.backoff(context) * model.prob(context[1:], word)
                seen = (*context, word) in model.raw[len(context) + 1]
                assert prob >= lower if seen else prob == lower


@given(corpora, st.lists(words, max_size=6), orders)
def test_scores_agree_with_probabilities(
    corpus: list[list[bytes]], sentence: list[bytes], order: int
) -> None:
    model = modified_kneser_ney(corpus, order, discount_fallback=FALLBACK)
    scores = model.score(b" ".join(sentence))
    history: Ngram = (BOS,)
    for (log10_prob, length, oov), word in zip(scores, [*sentence, EOS], strict=True):
        assert 10**log10_prob == pytest.approx(model.prob(history, word), rel=1e-12)
        assert 1 <= length <= min(order, len(history) + 1)
        assert oov == ((word,) not in model.raw[1])
        history = (*history, word)
