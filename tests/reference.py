"""N-gram estimation straight from the formulas: slow, plain, and the measure of the fast kernels.

Interpolated modified Kneser-Ney smoothing as published by Chen and Goodman, "An empirical study of
smoothing techniques for language modeling" (report TR-10-98, Harvard University, 1998; Computer
Speech and Language 13, 1999), cited below as C&G. Nothing here shares code with what it tests.

    w, c, c'     a word, its context (the words before it), that context without its first word
    a(cw)        adjusted count: how many distinct words stand before cw in the text; the raw count
                 where nothing can stand before it (c starts with <s>) or nothing longer is counted
                 (cw has the model's order)
    t1 .. t4     how many n-grams of one order have adjusted count 1 .. 4
    D1 D2 D3+    that order's discounts for adjusted counts 1, 2, and 3 or more
    V            the words that can be predicted: all words seen, <unk> and </s>, but not <s>

Every list that goes by order is indexed by the order itself; entry 0 is an empty placeholder.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

BOS, EOS, UNK = b"<s>", b"</s>", b"<unk>"
WORD = re.compile(rb"[^ \t\r\n]+")

Ngram = tuple[bytes, ...]
Counts = dict[Ngram, int]
CountsOfCounts = tuple[int, int, int, int]
Discounts = tuple[float, float, float]

NO_DISCOUNT: Discounts = (0.0, 0.0, 0.0)


@dataclass
class Followers:
    """What is known about the words seen after one context c."""

    total: int = 0  # sum_x a(cx)
    withheld: float = 0.0  # sum_x D(a(cx)) = D1 N1(c) + D2 N2(c) + D3+ N3+(c)


@dataclass
class ReferenceModel:
    """A back-off model in dictionaries; build one with the two functions at the end of this file.

    Attributes:
        order: words in the longest n-gram, at least 1.
        vocabulary: V, the words that can be predicted.
        raw: for k = 1 .. order, how often each k-gram stands in the text. Every sentence is wrapped
            in one <s> and one </s>; <s> alone is not counted, for it is never predicted.
        adjusted: a(.) of the same k-grams.
        counts_of_counts: t1 .. t4 of each order.
        discounts: D1, D2, D3+ of each order.
    """

    order: int
    vocabulary: set[bytes]
    raw: list[Counts]
    adjusted: list[Counts]
    counts_of_counts: list[CountsOfCounts]
    discounts: list[Discounts]
    followers: dict[Ngram, Followers] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for counts in self.adjusted:
            for ngram, count in counts.items():
                after = self.followers.setdefault(ngram[:-1], Followers())
                after.total += count
                after.withheld += self._discount(len(ngram), count)

    def prob(self, context: Ngram, word: bytes) -> float:
        """p(word | context), of which only the last order - 1 words count.

        A word outside the vocabulary stands for <unk>, in the context too; p(<s> | anything) is 0.
        """
        if word == BOS:
            return 0.0
        return self._interpolated(self._history(context), self._known(word))

    def backoff(self, context: Ngram) -> float:
        """g(context), the share left to shorter contexts; 1 if nothing was seen after it."""
        after = self.followers.get(context)
        if after is None:
            return 1.0
        # C&G, the gamma of modified Kneser-Ney: g(c) = (D1 N1 + D2 N2 + D3+ N3+) / sum_x a(cx).
        return after.withheld / after.total

    def ngrams(self) -> Iterator[tuple[Ngram, float, float | None]]:
        """Every n-gram with its probability and backoff weight (None at the highest order).

        Shorter n-grams first. The unigrams are V and <s>, which has probability 0.
        """
        unigrams: list[Ngram] = [(word,) for word in sorted(self.vocabulary | {BOS})]
        for k in range(1, self.order + 1):
            for ngram in unigrams if k == 1 else self.raw[k]:
                backoff = self.backoff(ngram) if k < self.order else None
                yield ngram, self.prob(ngram[:-1], ngram[-1]), backoff

    def score(
        self, sentence: bytes, *, bos: bool = True, eos: bool = True
    ) -> list[tuple[float, int, bool]]:
        """(log10 p, n-gram length, out of vocabulary) of every word, and of the sentence's end.

        The length is that of the longest n-gram of the model that ends in the word, at least 1.
        A sentence cannot spell its own ends: <s> and </s> written in it are unknown words.
        """
        words = [UNK if word in (BOS, EOS) else word for word in WORD.findall(sentence)]
        history: Ngram = (BOS,) if bos else ()
        scores = []
        for word in [*words, EOS] if eos else words:
            # An uncounted <unk> is only the stand-in for all unknown words, hence unknown itself.
            oov = self.raw[1].get((word,), 0) == 0
            prob = self.prob(history, word)
            log10_prob = math.log10(prob) if prob > 0 else -math.inf
            scores.append((log10_prob, self._matched_length(history, word), oov))
            history = (*history, word)
        return scores

    def _interpolated(self, context: Ngram, word: bytes) -> float:
        # C&G, modified Kneser-Ney: p(w|c) = u(w|c) + g(c) p(w|c'), which ends in the uniform
        # distribution over V. Of a context never seen, u is 0 and g is 1: it backs off.
        lower = self._interpolated(context[1:], word) if context else 1.0 / len(self.vocabulary)
        return self._seen_share(context, word) + self.backoff(context) * lower

    def _seen_share(self, context: Ngram, word: bytes) -> float:
        k = len(context) + 1
        count = self.adjusted[k].get((*context, word), 0)
        if count == 0:
            return 0.0
        # u(w|c) = (a(cw) - D(a(cw))) / sum_x a(cx).
        return (count - self._discount(k, count)) / self.followers[context].total

    def _discount(self, k: int, count: int) -> float:
        # C&G: D(a) is D1 for a = 1, D2 for a = 2, and D3+ for every a >= 3.
        return self.discounts[k][min(count, 3) - 1]

    def _known(self, word: bytes) -> bytes:
        return word if word in self.vocabulary else UNK

    def _history(self, context: Ngram) -> Ngram:
        last = context[max(0, len(context) - (self.order - 1)) :]
        return tuple(word if word == BOS else self._known(word) for word in last)

    def _matched_length(self, context: Ngram, word: bytes) -> int:
        ngram = (*self._history(context), self._known(word))
        lengths = [k for k in range(2, len(ngram) + 1) if ngram[-k:] in self.raw[k]]
        return max(lengths, default=1)


def count_ngrams(sentences: Iterable[list[bytes]], order: int, *, count_unk: bool) -> list[Counts]:
    """Raw counts of the k-grams, k = 1 .. order, that end in a predicted word."""
    if order < 1:
        raise ValueError(f"order {order}: a model has order 1 or more")
    reserved = {BOS, EOS} if count_unk else {BOS, EOS, UNK}
    raw: list[Counts] = [{} for _ in range(order + 1)]
    for sentence in sentences:
        if spelled := reserved.intersection(sentence):
            raise ValueError(f"{sorted(spelled)!r}: reserved words cannot be counted in a sentence")
        words = (BOS, *sentence, EOS)
        for end in range(2, len(words) + 1):
            # k <= end: no n-gram starts before <s>.
            for k in range(1, min(order, end) + 1):
                ngram = words[end - k : end]
                raw[k][ngram] = raw[k].get(ngram, 0) + 1
    return raw


def adjust_counts(raw: list[Counts]) -> list[Counts]:
    """a(.): distinct left neighbours below the highest order, raw counts elsewhere."""
    order = len(raw) - 1
    adjusted: list[Counts] = [{} for _ in raw]
    for k in range(1, order):
        # Every distinct (k+1)-gram v w1 .. wk is one distinct left neighbour v of w1 .. wk.
        for longer in raw[k + 1]:
            adjusted[k][longer[1:]] = adjusted[k].get(longer[1:], 0) + 1
        # Nothing stands before <s>, so that a k-gram which starts with it has only its raw count.
        adjusted[k].update((ngram, n) for ngram, n in raw[k].items() if ngram[0] == BOS)
    adjusted[order] = dict(raw[order])
    return adjusted


def count_counts(adjusted: Counts) -> CountsOfCounts:
    """t1 .. t4 of one order. <s> is no counted unigram and so is not among them."""
    counts = list(adjusted.values())
    return counts.count(1), counts.count(2), counts.count(3), counts.count(4)


def published_discounts(t: CountsOfCounts) -> Discounts:
    """D1, D2, D3+ from t1 .. t4.

    Raises:
        ValueError: t1, t2 or t3 is 0, so that a discount divides by 0, or a discount is negative.
            (t4 = 0 is fine: D3+ is then 3. No discount can exceed its count.)
    """
    t1, t2, t3, t4 = t
    if 0 in (t1, t2, t3):
        raise ValueError(f"no discounts follow from counts of counts {t}: t1, t2, t3 must not be 0")
    # C&G (1998), equation 26: Y = t1 / (t1 + 2 t2); Dk = k - (k+1) Y t(k+1) / tk.
    # In fractions, for a discount of exactly 0 is allowed and must not round below it.
    y = Fraction(t1, t1 + 2 * t2)
    d1, d2, d3 = 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3
    if min(d1, d2, d3) < 0:
        raise ValueError(f"counts of counts {t} give a negative discount: {d1}, {d2}, {d3}")
    return float(d1), float(d2), float(d3)


def choose_discounts(t: CountsOfCounts, fallback: Discounts | None) -> Discounts:
    """The published discounts, or `fallback` for an order that has none."""
    if fallback is not None and not all(0 <= d <= k for k, d in enumerate(fallback, start=1)):
        raise ValueError(f"discount_fallback {fallback}: Dk must lie between 0 and k")
    try:
        return published_discounts(t)
    except ValueError:
        if fallback is None:
            raise
        return fallback


def modified_kneser_ney(
    sentences: Iterable[list[bytes]],
    order: int,
    *,
    count_unk: bool = False,
    discount_fallback: Discounts | None = None,
) -> ReferenceModel:
    """Estimates an interpolated modified Kneser-Ney model.

    Args:
        sentences: the words of each sentence, without <s> and </s>.
        order: words in the longest n-gram.
        count_unk: whether <unk> may stand in the text, as a word like any other. If it does not
            stand there it has adjusted count 0 and gets the uniform distribution's share alone.
        discount_fallback: discounts of the orders from whose counts none follow.
    """
    raw = count_ngrams(sentences, order, count_unk=count_unk)
    adjusted = adjust_counts(raw)
    counts_of_counts = [count_counts(counts) for counts in adjusted]
    chosen = [choose_discounts(t, discount_fallback) for t in counts_of_counts[1:]]
    discounts = [NO_DISCOUNT, *chosen]
    return ReferenceModel(order, predicted(raw), raw, adjusted, counts_of_counts, discounts)


def maximum_likelihood(
    sentences: Iterable[list[bytes]], order: int, *, count_unk: bool = False
) -> ReferenceModel:
    """Estimates p(w|c) = count(cw) / sum_x count(cx).

    This is the same formula with raw counts and nothing discounted: a context that was seen leaves
    nothing to shorter ones (its backoff weight is 0), one never seen leaves everything (1).
    """
    raw = count_ngrams(sentences, order, count_unk=count_unk)
    counts_of_counts = [count_counts(counts) for counts in raw]
    discounts = [NO_DISCOUNT] * len(raw)
    return ReferenceModel(order, predicted(raw), raw, raw, counts_of_counts, discounts)


def predicted(raw: list[Counts]) -> set[bytes]:
    """V: all words seen, <unk> and </s>, without <s>."""
    return {UNK, EOS}.union(word for (word,) in raw[1])
