"""Every smoothing method of the reference: on paper, and what all of them must satisfy."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceModel, reference
from reference_counts import BOS, EOS, UNK, Ngram
from reference_methods import METHODS, NORMALISED

F = Fraction
FALLBACK = (0.5, 1.0, 1.5)

words = st.sampled_from([b"a", b"b", b"c", b"d"])
corpora = st.lists(st.lists(words, max_size=6), max_size=8)
thresholds = st.lists(st.integers(0, 3), min_size=1, max_size=5).map(sorted)


def lines(*texts: str) -> list[list[bytes]]:
    return [text.encode().split() for text in texts]


# Sentences "a a", "b", "b", "b a", "b"; order 2; V = {<unk>, </s>, a, b}.
# Bigrams:  <s> a 1 | <s> b 4 | a a 1 | a </s> 2 | b a 1 | b </s> 3      t = (3, 1, 1, 1)
# Unigrams: occurrences a 3 | b 4 | </s> 5, sum 12                       t = (0, 0, 1, 1)
#           words before a 3 | b 1 | </s> 2, sum 6                       t = (1, 1, 1, 0)
PAPER = lines("a a", "b", "b", "b a", "b")


def check(model: ReferenceModel, expected: dict[tuple[Ngram, bytes], Fraction]) -> None:
    for (context, word), prob in expected.items():
        assert model.prob(context, word) == pytest.approx(prob, rel=1e-14), (context, word)


def test_kneser_ney_on_paper() -> None:
    # Order 1: D = 1 / (1 + 2) = 1/3; g = 3 D / 6 = 1/6. Order 2: D = 3 / (3 + 2) = 3/5.
    model = reference(PAPER, 2, "kneser-ney")
    assert model.discounts[1:] == [(1 / 3,) * 3, (3 / 5,) * 3]
    p_a, p_eos, p_unk = F(8, 18) + F(1, 24), F(5, 18) + F(1, 24), F(1, 24)
    # After b: sum 4, g = 2 D / 4 = 3/10.
    assert model.backoff((b"b",)) == pytest.approx(F(3, 10))
    check(
        model,
        {
            ((), b"a"): p_a,
            ((), b"b"): F(2, 18) + F(1, 24),
            ((), UNK): p_unk,
            ((b"b",), b"a"): F(1, 10) + F(3, 10) * p_a,
            ((b"b",), EOS): F(6, 10) + F(3, 10) * p_eos,
            ((b"b",), b"zzz"): F(3, 10) * p_unk,
            ((EOS,), UNK): p_unk,
        },
    )


def test_absolute_discounting_on_paper() -> None:
    # Order 1 has no word seen once or twice: D = 1/2, as given; g = 3 D / 12 = 1/8.
    model = reference(PAPER, 2, "absolute-discounting", discount_fallback=FALLBACK)
    assert model.counts_of_counts[1:] == [(0, 0, 1, 1), (3, 1, 1, 1)]
    assert model.discounts[1:] == [(1 / 2,) * 3, (3 / 5,) * 3]
    p_a = F(5, 24) + F(1, 32)
    check(model, {((), b"a"): p_a, ((b"b",), b"a"): F(1, 10) + F(3, 10) * p_a})
    with pytest.raises(ValueError, match="t1, t2 must not be 0"):
        reference(PAPER, 2, "absolute-discounting")


def test_witten_bell_on_paper() -> None:
    # g() = 3 / (12 + 3) = 1/5; after b: g = 2 / (4 + 2) = 1/3.
    model = reference(PAPER, 2, "witten-bell")
    p_a, p_unk = F(3, 15) + F(1, 20), F(1, 20)
    check(
        model,
        {
            ((), b"a"): p_a,
            ((), UNK): p_unk,
            ((b"b",), b"a"): F(1, 6) + F(1, 3) * p_a,
            ((b"b",), UNK): F(1, 3) * p_unk,
        },
    )


def test_add_k_on_paper() -> None:
    # k V = 2. Alone: (count + k) / (12 + k V).
    model = reference(PAPER, 2, "add-k", k=0.5)
    p_a, p_unk = F(7, 28), F(1, 28)
    check(
        model,
        {
            ((), b"a"): p_a,
            ((), UNK): p_unk,
            ((b"b",), b"a"): (1 + 2 * p_a) / 6,
            ((b"b",), UNK): 2 * p_unk / 6,
        },
    )


def test_stupid_backoff_on_paper() -> None:
    model = reference(PAPER, 2, "stupid-backoff", backoff_factor=0.25)
    check(
        model,
        {
            ((), b"a"): F(3, 12),
            ((b"b",), b"a"): F(1, 4),
            ((b"b",), b"b"): F(1, 4) * F(4, 12),
            ((EOS,), b"b"): F(4, 12),
            ((b"b",), UNK): F(0),
        },
    )
    assert [backoff for _, _, backoff in model.ngrams()] == [1, 0.25, 1, 0.25, 0.25] + [None] * 6


def test_discounts_can_be_given() -> None:
    given_ = [(0.1, 0.2, 0.3), (0.4, 0.5, 0.6)]
    for smoothing in ("modified-kneser-ney", "kneser-ney", "absolute-discounting"):
        model = reference(lines("a b"), 2, smoothing, discounts=given_)
        assert model.discounts[1:] == given_
        # All that follows a was seen once.
        assert model.backoff((b"a",)) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="must lie between"):
        reference(lines("a b"), 1, discounts=[(0.5, 2.5, 3)])
    with pytest.raises(ValueError, match="no such method"):
        reference(lines("a b"), 1, "katz")


def test_vocabulary_limits_what_is_counted() -> None:
    text = lines("b a c", "b a d", "e")
    # a and b are seen twice, c, d and e once: of these c is first by its bytes.
    model = reference(text, 2, "witten-bell", vocabulary=3)
    assert model.vocabulary == {b"a", b"b", b"c", UNK, EOS}
    assert model.raw[2][(BOS, UNK)] == 1
    assert [row[1:] for row in model.score(b"b a d")][2] == (2, True)
    named = reference(text, 2, "witten-bell", vocabulary={b"a", b"b", b"c", b"never"})
    assert named.log10_ngrams() == model.log10_ngrams()
    # <unk> in the text is not among the words that are chosen.
    assert reference(lines("<unk> <unk> a"), 1, vocabulary=1, count_unk=True, discounts=[
        FALLBACK
    ]).raw[1] == {(UNK,): 2, (b"a",): 1, (EOS,): 1}  # fmt: skip
    assert reference(text, 2, "add-k", vocabulary=0).vocabulary == {UNK, EOS}


# Contexts seen, and some never seen: too long, ending in </s>, with an unknown word.
UNSEEN: list[Ngram] = [(), (b"d",) * 7, (b"a", EOS), (b"z", b"a"), (b"a", b"z"), (UNK,)]


@given(
    corpora, st.integers(1, 5), thresholds, st.sampled_from(METHODS), st.none() | st.integers(0, 3)
)
def test_identities(
    corpus: list[list[bytes]], order: int, prune: list[int], smoothing: str, vocabulary: int | None
) -> None:
    model = reference(
        corpus,
        order,
        smoothing,
        prune=prune[:order],
        discount_fallback=FALLBACK,
        vocabulary=vocabulary,
        k=0.3,
    )
    known = model.vocabulary | {BOS}
    for seen in [*model.followers, *UNSEEN]:
        context = tuple(word if word in known else UNK for word in seen)
        probs = {word: model.prob(context, word) for word in model.vocabulary}
        assert min(probs.values()) >= 0
        assert 0 <= model.backoff(context) <= 1
        if smoothing in NORMALISED:
            assert abs(math.fsum(probs.values()) - 1) < 1e-12, context
        else:
            assert max(probs.values()) <= 1
        if 0 < len(context) < order:
            for word, prob in probs.items():
                lower = model.backoff(context) * model.prob(context[1:], word)
                kept = (*context, word) in model.kept[len(context) + 1]
                assert prob == lower or kept


@given(corpora, st.integers(1, 4), st.sampled_from(NORMALISED), thresholds)
def test_pruning_hands_over_the_whole_share(
    corpus: list[list[bytes]], order: int, smoothing: str, prune: list[int]
) -> None:
    """What is left out frees its share, and changes nothing else in its context and order."""
    prune = [0, *prune][:order]
    whole = reference(corpus, order, smoothing, discount_fallback=FALLBACK)
    pruned = reference(corpus, order, smoothing, discount_fallback=FALLBACK, prune=prune)
    assert pruned.counts == whole.counts
    assert pruned.counts_of_counts == whole.counts_of_counts
    assert pruned.rules == whole.rules
    for context, after in pruned.followers.items():
        k = len(context) + 1
        removed = [
            x for x in sorted(whole.vocabulary) if (*context, x) in whole.kept[k] - pruned.kept[k]
        ]
        shares = [
            whole.prob(context, x)
            - whole.backoff(context) * (whole.prob(context[1:], x) if context else 0)
            for x in removed
        ]
        assert pruned.backoff(context) == pytest.approx(whole.backoff(context) + sum(shares))
        assert after.types == whole.followers[context].types


@given(corpora, st.integers(1, 5), thresholds)
def test_parts_of_kept_ngrams_are_kept(
    corpus: list[list[bytes]], order: int, prune: list[int]
) -> None:
    model = reference(corpus, order, "witten-bell", prune=prune[:order])
    for k in range(2, order + 1):
        for ngram in model.kept[k]:
            assert ngram[1:] in model.kept[k - 1]
            assert ngram[:-1] in model.kept[k - 1] or ngram[:-1] == (BOS,)


@pytest.mark.parametrize("prune", [(), (0, 0, 0), (1, 0), (-1,)])
def test_thresholds_that_are_refused(prune: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        reference(PAPER, 2, "witten-bell", prune=prune)
