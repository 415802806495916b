"""Entropy pruning, plainly: which n-grams of a back-off model can go at what price.

Stolcke, "Entropy-based pruning of backoff language models", Proceedings of the DARPA Broadcast News
Transcription and Understanding Workshop, 1998; cited below by its section.

    h, h', w     a history (context), the history without its first word, a word
    alpha(h)     the back-off weight of h
    p, p'        the model, and the model without the n-gram h w
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from reference import ReferenceModel
from reference_counts import BOS, EOS, Ngram


@dataclass(frozen=True)
class BackoffModel:
    """Nothing but the probabilities that are stored, and the weights.

    Attributes:
        vocabulary: the words that can be predicted.
        probs: p(w|h) of every n-gram h w, among which are all single words of the vocabulary.
        weights: alpha(h) of every history after which a word is stored.
    """

    vocabulary: set[bytes]
    probs: dict[Ngram, float]
    weights: dict[Ngram, float]

    def prob(self, history: Ngram, word: bytes) -> float:
        if (*history, word) in self.probs:
            return self.probs[*history, word]
        return self.weights.get(history, 1.0) * self.prob(history[1:], word)

    def stored(self, history: Ngram) -> list[bytes]:
        return [word for word in self.vocabulary if (*history, word) in self.probs]

    def history_prob(self, history: Ngram) -> float:
        """P(h), by the chain rule. Before it stands nothing, and a sentence starts where one ends.

        So <s>, which is never predicted, is as probable as </s>.
        """
        words = [EOS if word == BOS and i == 0 else word for i, word in enumerate(history)]
        return math.prod(self.prob(history[:i], word) for i, word in enumerate(words))


def backoff_model(model: ReferenceModel) -> BackoffModel:
    """What an ARPA file would hold of a model, of which <s> is only a history."""
    rows = list(model.ngrams())
    return BackoffModel(
        model.vocabulary,
        {ngram: prob for ngram, prob, _ in rows if ngram != (BOS,)},
        {
            ngram: weight
            for ngram, _, weight in rows
            if weight is not None and has_words(model, ngram)
        },
    )


def has_words(model: ReferenceModel, history: Ngram) -> bool:
    return history in model.followers and model.followers[history].kept > 0


def left_over(model: BackoffModel, history: Ngram) -> tuple[float, float]:
    """What the words not stored after h have of p(.|h), and of p(.|h')."""
    stored = model.stored(history)
    left = 1 - math.fsum(model.probs[*history, word] for word in stored)
    lower_left = 1 - math.fsum(model.prob(history[1:], word) for word in stored)
    # Where all words are stored, nothing is left but rounding errors.
    return max(left, 0.0), max(lower_left, 0.0)


def relative_entropy(model: BackoffModel, ngram: Ngram) -> float:
    """D(p || p') in nats: what it costs to leave out one n-gram of two words or more."""
    history, word = ngram[:-1], ngram[-1]
    prob, lower = model.probs[ngram], model.prob(history[1:], word)
    left, lower_left = left_over(model, history)
    if lower == 0:
        return 0.0 if prob == 0 else math.inf
    # Section 3: the weight after pruning takes what h w had, and spreads it over w, too.
    weight = (left + prob) / (lower_left + lower)
    # Section 3, equation 5: of p(.|h) only p(w|h) and the weight have changed.
    of_word = prob * math.log(lower * weight / prob) if prob > 0 else 0.0
    of_rest = left * math.log(weight / model.weights[history]) if left > 0 else 0.0
    return max(0.0, -model.history_prob(history) * (of_word + of_rest))


def entropy_pruned(
    model: BackoffModel, threshold: float, *, suffixes_stay: bool = False
) -> BackoffModel:
    """The model without the n-grams that raise its perplexity by a share below the threshold.

    Each n-gram is judged by itself against the whole model. One whose words are the history of an
    n-gram that stays, or the end of such a history, stays: its weight is needed. Single words stay.
    With `suffixes_stay` so does what an n-gram that stays ends with, as lmserve's format needs it.
    """
    kept = {ngram for ngram in model.probs if len(ngram) == 1}
    needed_ones: set[Ngram] = set()
    for k in range(max(map(len, model.probs)), 1, -1):
        for ngram in [ngram for ngram in model.probs if len(ngram) == k]:
            # Section 3: the relative change of perplexity is exp(D) - 1.
            if ngram in needed_ones or math.expm1(relative_entropy(model, ngram)) >= threshold:
                kept.add(ngram)
                needed_ones.update(ends(ngram[:-1]))
                if suffixes_stay:
                    needed_ones.add(ngram[1:])
    return reweighted(model, kept)


def ends(history: Ngram) -> Iterator[Ngram]:
    return (history[i:] for i in range(len(history)))


def reweighted(model: BackoffModel, kept: set[Ngram]) -> BackoffModel:
    """The n-grams that stay, with their probabilities and the weights that follow from these."""
    probs = {ngram: prob for ngram, prob in model.probs.items() if ngram in kept}
    pruned = BackoffModel(model.vocabulary, probs, {})
    # Shorter ones first: alpha(h) depends on p(.|h').
    for history in sorted({ngram[:-1] for ngram in probs} - {()}, key=len):
        left, lower_left = left_over(pruned, history)
        pruned.weights[history] = left / lower_left if lower_left > 0 else 0.0
    return pruned
