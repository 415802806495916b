"""From tokens to counted shards, kernel by kernel, against plain counting."""

import numpy as np
import numpy.typing as npt
from hypothesis import example, given
from hypothesis import strategies as st
from reference_counts import BOS as BOS_WORD
from reference_counts import EOS as EOS_WORD
from reference_counts import Counts, Ngram, adjust_counts, count_ngrams

from lmserve.ngram.contexts import collect
from lmserve.ngram.levels import ShardContexts
from lmserve.ngram.records import RecordLayout, partition
from lmserve.ngram.sharding import Prefix, Sharding, plan_shards, survey
from lmserve.ngram.shared import add_up
from lmserve.ngram.sorting import sort_records, sort_words
from lmserve.text.special_tokens import BOS, EOS, FIRST_WORD

# Ids of a vocabulary so large that two fill a column, and the highest of them.
LARGE = (1 << 24) + 1

sentences = st.lists(
    st.lists(st.integers(FIRST_WORD, FIRST_WORD + 4), max_size=7), min_size=1, max_size=12
)


def tokens_of(text: list[list[int]]) -> npt.NDArray[np.uint32]:
    return np.array([word for line in text for word in [*line, EOS]], np.uint32)


def word(word_id: int) -> bytes:
    return {BOS: BOS_WORD, EOS: EOS_WORD}.get(word_id, b"%d" % word_id)


def plan(tokens: npt.NDArray[np.uint32], order: int, size: int, most: int) -> Sharding:
    def count(prefixes: list[Prefix]) -> dict[Prefix, npt.NDArray[np.int64]]:
        counts = np.zeros((len(prefixes), size), np.int64)
        survey(tokens, order, prefixes, counts)
        return dict(zip(prefixes, counts, strict=True))

    counts = np.bincount(tokens, minlength=size).astype(np.int64)
    counts[BOS] = counts[EOS]
    return plan_shards(counts, order, minimum=1, records_per_shard=most, count=count)  # type: ignore[arg-type]


def spelled(
    found: ShardContexts, prefix: Prefix
) -> list[tuple[list[Ngram], npt.NDArray[np.uint32], npt.NDArray[np.uint32] | None]]:
    """The n-grams of each level with their counts and raw counts."""
    parents: list[Prefix] = [prefix]
    levels = []
    for i, level in enumerate(found.levels):
        child_ends = [len(level.list_ends)] if i == 0 else found.levels[i - 1].child_ends.tolist()
        contexts: list[Prefix] = []
        for parent, end in zip(parents, child_ends, strict=True):
            while len(contexts) < end:
                contexts.append((*parent, int(level.first_words[len(contexts)])))
        assert contexts == sorted(contexts)
        assert len(contexts) == len(level.list_ends)
        ngrams: list[Ngram] = []
        for context, end in zip(contexts, level.list_ends.tolist(), strict=True):
            words = level.words[len(ngrams) : end].tolist()
            assert words == sorted(set(words))
            assert words
            ngrams += [(*map(word, reversed(context)), word(last)) for last in words]
        levels.append((ngrams, level.counts, level.raw_counts))
        parents = contexts
    return levels


@given(sentences, st.integers(2, 6), st.integers(1, 40), st.sampled_from([8, 300, 70_000]))
@example([[3, 4, 5, 6, 7, LARGE - 1, 3, LARGE - 2, LARGE - 1, 4, 3], []], 10, 100, LARGE)
def test_shards_hold_what_plain_counting_finds(
    text: list[list[int]], order: int, most: int, size: int
) -> None:
    tokens = tokens_of(text)
    raw = count_ngrams([[word(w) for w in line] for line in text], order)
    adjusted = adjust_counts(raw)
    layout = RecordLayout(order, size)
    assert layout.columns == (5 if size == LARGE else layout.columns)
    sharding = plan(tokens, order, size, most)
    starts, records = partition(tokens, layout, sharding.routes(size), len(sharding))
    assert starts[-1] == len(tokens)
    found_raw: list[Counts] = [{} for _ in range(order + 1)]
    found_adjusted: list[Counts] = [{} for _ in range(order + 1)]
    shared = []
    for number, shard in enumerate(sharding.shards):
        part = records[starts[number] : starts[number + 1]].copy()
        assert len(part) == shard.records
        sort_records(part, np.empty_like(part))
        depth = len(shard.prefix)
        found = collect(part, layout, depth=depth, adjusted=True, keep_raw=True)
        unadjusted = collect(part, layout, depth=depth, adjusted=False, keep_raw=True)
        shared.append(found.shared)
        for j, (ngrams, counts, raw_counts) in enumerate(spelled(found, shard.prefix), depth + 1):
            assert raw_counts is not None
            for ngram, count, raw_count in zip(ngrams, counts, raw_counts, strict=True):
                assert ngram not in found_raw[j + 1]
                found_adjusted[j + 1][ngram] = int(count)
                found_raw[j + 1][ngram] = int(raw_count)
            other = unadjusted.levels[j - depth - 1]
            assert np.array_equal(other.counts, raw_counts)
            assert np.array_equal(other.words, found.levels[j - depth - 1].words)
    for prefix, (counts, raw_counts) in add_up(sharding, shared, size, adjusted=True).items():
        for last in np.flatnonzero(counts).tolist():
            ngram = (*map(word, reversed(prefix)), word(last))
            found_adjusted[len(ngram)][ngram] = int(counts[last])
            found_raw[len(ngram)][ngram] = int(raw_counts[last])
    assert found_adjusted == adjusted
    assert found_raw == raw


@given(
    st.integers(1, 3),
    st.integers(0, 3000),
    st.sampled_from([1, 3, 40, 1 << 20, (1 << 64) - 1]),
    st.integers(0, 100),
)
def test_records_are_sorted(columns: int, rows: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, most, (rows, columns), np.uint64, endpoint=True)
    expected = records[np.lexsort(records.T[::-1])]
    sort_records(records, np.empty_like(records))
    assert np.array_equal(records, expected)


@given(
    st.integers(0, 5000),
    st.sampled_from([3, 300, 70_000, (1 << 32) - 1]),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_words_are_sorted(rows: int, most: int, before: int, seed: int) -> None:
    words = np.random.default_rng(seed).integers(0, most, before + rows + 3, np.uint32)
    expected = words.copy()
    expected[before : before + rows].sort()
    sort_words(words, before, before + rows, np.empty(max(rows, 1), np.uint32))
    assert np.array_equal(words, expected)
