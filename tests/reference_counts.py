"""What the plain reference counts: n-grams, adjusted counts, and what pruning leaves of them.

Every list that goes by order is indexed by the order itself; entry 0 is an empty placeholder.
"""

from collections.abc import Collection, Iterable, Sequence

BOS, EOS, UNK = b"<s>", b"</s>", b"<unk>"

Ngram = tuple[bytes, ...]
Counts = dict[Ngram, int]
CountsOfCounts = tuple[int, int, int, int]


def limit_vocabulary(
    sentences: Iterable[list[bytes]], vocabulary: int | Collection[bytes]
) -> list[list[bytes]]:
    """The sentences with <unk> for each word outside the vocabulary.

    Args:
        sentences: the words of each sentence.
        vocabulary: its words; or how many: the most frequent ones, the least by bytes of those that
            are equally frequent. <unk> itself, where it may stand in the text, is none of them.
    """
    sentences = list(sentences)
    if isinstance(vocabulary, int):
        occurrences: dict[bytes, int] = {}
        for sentence in sentences:
            for word in sentence:
                occurrences[word] = occurrences.get(word, 0) + 1
        occurrences.pop(UNK, None)
        ranked = sorted(occurrences, key=lambda word: (-occurrences[word], word))
        vocabulary = ranked[:vocabulary]
    known = set(vocabulary)
    return [[word if word in known else UNK for word in sentence] for sentence in sentences]


def check_sentences(sentences: Iterable[list[bytes]], *, count_unk: bool) -> None:
    """Refuses sentences that hold words which are the model's own marks."""
    reserved = {BOS, EOS} if count_unk else {BOS, EOS, UNK}
    for sentence in sentences:
        if spelled := reserved.intersection(sentence):
            raise ValueError(f"{sorted(spelled)!r}: reserved words cannot be counted in a sentence")


def count_ngrams(sentences: Iterable[list[bytes]], order: int) -> list[Counts]:
    """Raw counts of the k-grams, k = 1 .. order, that end in a predicted word.

    Every sentence is wrapped in one <s> and one </s>. <s> alone is not counted, for it is never
    predicted.
    """
    if order < 1:
        raise ValueError(f"order {order}: a model has order 1 or more")
    raw: list[Counts] = [{} for _ in range(order + 1)]
    for sentence in sentences:
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


def count_counts(counts: Counts) -> CountsOfCounts:
    """t1 .. t4 of one order. <s> is no counted unigram and so is not among them."""
    values = list(counts.values())
    return values.count(1), values.count(2), values.count(3), values.count(4)


def kept_ngrams(raw: list[Counts], prune: Sequence[int]) -> list[set[Ngram]]:
    """The n-grams of each order that pruning leaves: those whose raw count is above the threshold.

    Args:
        raw: raw counts of each order.
        prune: thresholds of order 1, 2, ..; the last one is that of all higher orders, too.

    Raises:
        ValueError: there is no threshold, or more than orders; or one is negative or below that of
            the order before, which would remove an n-gram and leave a longer one that holds it.
    """
    order = len(raw) - 1
    if not 1 <= len(prune) <= order:
        raise ValueError(f"{len(prune)} thresholds for a model of order {order}")
    if list(prune) != sorted(prune) or prune[0] < 0:
        raise ValueError(f"thresholds {prune}: none may be negative or below the one before it")
    thresholds = [0, *prune, *[prune[-1]] * (order - len(prune))]
    kept = [
        {ngram for ngram, count in counts.items() if count > threshold}
        for counts, threshold in zip(raw, thresholds, strict=True)
    ]
    # <unk> and </s> are words of every model.
    kept[1] |= {(word,) for word in (UNK, EOS) if (word,) in raw[1]}
    return kept
