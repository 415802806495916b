"""N-gram estimation straight from the formulas: slow, plain, and the measure of the fast kernels.

`reference_counts` counts, `reference_methods` names the papers and makes each method a rule.
Nothing here shares code with what it tests.

    w, c, c'     a word, its context (the words before it), that context without its first word
    a(cw)        the count that a method uses. The adjusted count: how many distinct words stand
                 before cw in the text; the raw count where nothing can stand before it (c starts
                 with <s>) or nothing longer is counted (cw has the model's order). Or raw counts
                 throughout.
    D(a)         what is taken off a count of a
    V            the words that can be predicted: all words seen, <unk> and </s>, but not <s>

Every list that goes by order is indexed by the order itself; entry 0 is an empty placeholder.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from reference_counts import (
    BOS,
    EOS,
    UNK,
    Counts,
    CountsOfCounts,
    Ngram,
    adjust_counts,
    check_sentences,
    count_counts,
    count_ngrams,
    kept_ngrams,
    limit_vocabulary,
)
from reference_methods import ADJUSTED, Discounts, Rule, choose_rule

WORD = re.compile(rb"[^ \t\r\n]+")


@dataclass
class Followers:
    """What is known about the words seen after one context c."""

    total: int = 0  # sum_x a(cx)
    types: int = 0  # how many x
    withheld: float = 0.0  # sum_x D(a(cx)); but all of a(cx) where cx is pruned
    kept: int = 0  # how many x are not pruned


@dataclass
class ReferenceModel:
    """A back-off model in dictionaries; build one with the functions at the end of this file.

    Attributes:
        order: words in the longest n-gram, at least 1.
        vocabulary: V, the words that can be predicted.
        raw: for k = 1 .. order, how often each k-gram stands in the text. Every sentence is wrapped
            in one <s> and one </s>; <s> alone is not counted, for it is never predicted.
        adjusted: the adjusted counts of the same k-grams.
        counts: those of the two that the method uses.
        counts_of_counts: how many k-grams of each order have `counts` 1, 2, 3, 4.
        rules: what the method does in each order.
        kept: the k-grams that pruning leaves.
    """

    order: int
    vocabulary: set[bytes]
    raw: list[Counts]
    adjusted: list[Counts]
    counts: list[Counts]
    counts_of_counts: list[CountsOfCounts]
    rules: list[Rule]
    kept: list[set[Ngram]]
    followers: dict[Ngram, Followers] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for k in range(1, self.order + 1):
            for ngram, count in self.counts[k].items():
                kept = ngram in self.kept[k]
                after = self.followers.setdefault(ngram[:-1], Followers())
                after.total += count
                after.types += 1
                after.withheld += self.rules[k].discount(count) if kept else count
                after.kept += kept

    @property
    def discounts(self) -> list[Discounts]:
        """D1, D2, D3+ of each order; all 0 for a method without discounts."""
        return [rule.discounts for rule in self.rules]

    def prob(self, context: Ngram, word: bytes) -> float:
        """p(word | context), of which only the last order - 1 words count.

        A word outside the vocabulary stands for <unk>, in the context too; p(<s> | anything) is 0.
        """
        if word == BOS:
            return 0.0
        return self._smoothed(self._history(context), self._known(word))

    def backoff(self, context: Ngram) -> float:
        """g(context), the weight of the shorter context; 1 if no word is kept after this one."""
        after = self.followers.get(context)
        if after is None or after.kept == 0:
            return 1.0
        rule = self.rules[len(context) + 1]
        if rule.fixed_backoff is not None:
            return rule.fixed_backoff
        # Chen and Goodman, the gamma of modified Kneser-Ney:
        # g(c) = (D1 N1 + D2 N2 + D3+ N3+) / sum_x a(cx); and the novelties of other methods.
        novelties = rule.novelties(after.types)
        return (after.withheld + novelties) / (after.total + novelties)

    def ngrams(self) -> Iterator[tuple[Ngram, float, float | None]]:
        """Every n-gram with its probability and backoff weight (None at the highest order).

        Shorter n-grams first. The unigrams are V and <s>, which has probability 0.
        """
        unigrams: list[Ngram] = [(word,) for word in sorted(self.vocabulary | {BOS})]
        for k in range(1, self.order + 1):
            for ngram in unigrams if k == 1 else sorted(self.kept[k]):
                backoff = self.backoff(ngram) if k < self.order else None
                yield ngram, self.prob(ngram[:-1], ngram[-1]), backoff

    def log10_ngrams(self) -> dict[Ngram, tuple[float, float | None]]:
        """log10 probability and backoff weight of every n-gram; -infinity for 0."""
        return {
            ngram: (log10(prob), None if backoff is None else log10(backoff))
            for ngram, prob, backoff in self.ngrams()
        }

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
            oov = (word,) not in self.kept[1]
            length = self._matched_length(history, word)
            scores.append((log10(self.prob(history, word)), length, oov))
            history = (*history, word)
        return scores

    def _smoothed(self, context: Ngram, word: bytes) -> float:
        # Chen and Goodman: p(w|c) = u(w|c) + g(c) p(w|c'), which ends in the uniform distribution
        # over V. Of a context never seen, u is 0 and g is 1: it backs off.
        k = len(context) + 1
        kept = (*context, word) in self.kept[k]
        lower = self._smoothed(context[1:], word) if context else 1.0 / len(self.vocabulary)
        if not kept:
            return self.backoff(context) * lower
        count, rule, after = self.counts[k][*context, word], self.rules[k], self.followers[context]
        if rule.fixed_backoff is not None:
            return count / after.total
        # u(w|c) = (a(cw) - D(a(cw))) / sum_x a(cx).
        share = (count - rule.discount(count)) / (after.total + rule.novelties(after.types))
        return share + self.backoff(context) * lower

    def _known(self, word: bytes) -> bytes:
        return word if word in self.vocabulary else UNK

    def _history(self, context: Ngram) -> Ngram:
        last = context[max(0, len(context) - (self.order - 1)) :]
        return tuple(word if word == BOS else self._known(word) for word in last)

    def _matched_length(self, context: Ngram, word: bytes) -> int:
        ngram = (*self._history(context), self._known(word))
        lengths = [k for k in range(2, len(ngram) + 1) if ngram[-k:] in self.kept[k]]
        return max(lengths, default=1)


def reference(
    sentences: Iterable[list[bytes]],
    order: int,
    smoothing: str = "modified-kneser-ney",
    *,
    prune: Sequence[int] = (0,),
    discounts: Sequence[Discounts] | None = None,
    discount_fallback: Discounts | None = None,
    k: float = 0.01,
    backoff_factor: float = 0.4,
    vocabulary: int | Collection[bytes] | None = None,
    count_unk: bool = False,
) -> ReferenceModel:
    """Estimates a model by one of `reference_methods.METHODS`.

    Args:
        sentences: the words of each sentence, without <s> and </s>.
        order: words in the longest n-gram.
        smoothing: the method.
        prune: n-grams with a raw count up to this are left out, of order 1, 2, ..; the last
            threshold is that of all higher orders.
        discounts: D1, D2, D3+ of each order, instead of what follows from the counts.
        discount_fallback: discounts of the orders from whose counts none follow.
        k: added to every count by add-k smoothing.
        backoff_factor: what stupid backoff multiplies by.
        vocabulary: the only words that are not counted as <unk>, or how many of the most frequent.
        count_unk: whether <unk> may stand in the text, as a word like any other. If it does not
            stand there it has count 0 and gets the uniform distribution's share alone.
    """
    sentences = list(sentences)
    check_sentences(sentences, count_unk=count_unk)
    if vocabulary is not None:
        sentences = limit_vocabulary(sentences, vocabulary)
    raw = count_ngrams(sentences, order)
    kept = kept_ngrams(raw, prune)
    predicted = {UNK, EOS}.union(word for (word,) in kept[1])
    adjusted = adjust_counts(raw)
    counts = adjusted if smoothing in ADJUSTED else raw
    counts_of_counts = [count_counts(of_order) for of_order in counts]
    rules = [
        choose_rule(
            smoothing,
            length,
            counts_of_counts[length],
            len(predicted),
            discounts=discounts,
            discount_fallback=discount_fallback,
            add_k=k,
            backoff_factor=backoff_factor,
        )
        for length in range(1, order + 1)
    ]
    return ReferenceModel(
        order, predicted, raw, adjusted, counts, counts_of_counts, [Rule(), *rules], kept
    )


def modified_kneser_ney(
    sentences: Iterable[list[bytes]],
    order: int,
    *,
    count_unk: bool = False,
    discount_fallback: Discounts | None = None,
) -> ReferenceModel:
    """Estimates an interpolated modified Kneser-Ney model; see `reference`."""
    return reference(sentences, order, count_unk=count_unk, discount_fallback=discount_fallback)


def maximum_likelihood(
    sentences: Iterable[list[bytes]], order: int, *, count_unk: bool = False
) -> ReferenceModel:
    """Estimates p(w|c) = count(cw) / sum_x count(cx); see `reference`.

    A context that was seen leaves nothing to shorter ones (its backoff weight is 0), one never seen
    leaves everything (1).
    """
    return reference(sentences, order, "maximum-likelihood", count_unk=count_unk)


def log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
