"""Counting: text to token ids with a piece's own vocabulary, then n-gram records by shard.

Stage 1, `tokenize_piece`: lines -> tokens (ids local to the piece) and the piece's words.
Stage 2, `scatter_piece`: tokens -> one record per token, filed under the shard of its context.
Stage 3, `count_shard`: records -> the lists of words after every context, with their counts.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lmserve.ngram.contexts import collect
from lmserve.ngram.levels import LeftOut, Level, ShardContexts, SharedList, count_counts
from lmserve.ngram.records import RecordLayout, Records, partition
from lmserve.ngram.sharding import Prefix, Sharding, survey
from lmserve.ngram.small_numbers import lengths, open_numbers, save_numbers
from lmserve.ngram.sorting import sort_records
from lmserve.ngram.spares import Spares
from lmserve.ngram.tables import (
    as_numpy,
    binary_column,
    binary_parts,
    number_column,
    open_batches,
    open_table,
    write_batches,
    write_table,
)
from lmserve.ngram.thinning import thin
from lmserve.ngram.vocabulary import WORDS_SCHEMA, Vocabulary
from lmserve.text.interner import Interner
from lmserve.text.sources import Piece, read_blocks, special_token_error
from lmserve.text.special_tokens import UNK, SpecialTokens
from lmserve.text.tokenization import Segment, identity, segmented
from lmserve.text.word_table import OOV, Ids

_TOKENS = "token"
_RECORDS = "record"
_LEVELS = "levels.arrow"
_COUNTED, _SHARED = "counted.json", "shared.arrow"
# Of a counted shard, what `Counted.read` and `open_shared` read.
SUM_FILES = (_COUNTED, _SHARED)
_LEFT_OUT_SCHEMA = {"count": pa.int64(), "words": pa.uint32()}


def tokenize_piece(
    piece: Piece,
    special_tokens: SpecialTokens,
    tokens_path: Path,
    words_path: Path,
    segment: Segment = identity,
) -> int:
    """Cuts a piece of text into words.

    Args:
        piece: what to read.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        tokens_path: Arrow file to write, column `token` uint32, sentences ended by `EOS`.
        words_path: Arrow file to write, `WORDS_SCHEMA`, row = local id.
        segment: turns its lines into lines of tokens, see `lmserve.text.tokenization`.

    Returns:
        Tokens read, sentence ends included.

    Raises:
        InputError: the text cannot be read, or holds a special token that may not be there.
    """
    interner = Interner(special_tokens)

    def batches() -> Iterator[pa.RecordBatch]:
        for block in segmented(read_blocks(piece), segment):
            tokens, refused_at = interner.tokenize(block.data)
            if refused_at >= 0:
                raise special_token_error(piece, block, refused_at)
            yield pa.record_batch([number_column(tokens)], [_TOKENS])
        yield pa.record_batch([number_column(np.empty(0, np.uint32))], [_TOKENS])

    write_batches(tokens_path, batches())
    offsets, data, counts = interner.words()
    write_table(words_path, {"word": binary_column(offsets, data), "count": counts})
    return int(counts.sum())


def global_tokens(tokens_path: Path, words_path: Path, vocabulary: Vocabulary) -> Iterator[Ids]:
    """A piece's tokens as ids of the whole text's vocabulary, batch by batch: uint32 [N].

    Words that the vocabulary leaves out are `<unk>`.
    """
    words = open_table(words_path, WORDS_SCHEMA)
    ids = vocabulary.find_all(*binary_parts(words["word"]))
    ids[ids == OOV] = UNK
    reader = open_batches(tokens_path)
    for b in range(reader.num_record_batches):
        yield ids[as_numpy(reader.get_batch(b).column(0))]


def survey_piece(
    tokens_path: Path,
    words_path: Path,
    vocabulary: Vocabulary,
    *,
    order: int,
    prefixes: Sequence[Prefix],
) -> npt.NDArray[np.int64]:
    """Counts what the records of given contexts go on with in one piece: int64 [P, V]."""
    counts = np.zeros((len(prefixes), len(vocabulary)), np.int64)
    for tokens in global_tokens(tokens_path, words_path, vocabulary):
        survey(tokens, order, prefixes, counts)
    return counts


def scatter_piece(
    tokens_path: Path,
    words_path: Path,
    vocabulary: Vocabulary,
    *,
    sharding: Sharding,
    records_path: Path,
) -> int:
    """Turns a piece's tokens into n-gram records, filed by shard.

    Args:
        tokens_path: written by `tokenize_piece`.
        words_path: written by `tokenize_piece`.
        vocabulary: of the whole text.
        sharding: where records go.
        records_path: Arrow file to write; batch b holds records of shard b modulo S.

    Returns:
        Records written.
    """
    layout = RecordLayout(sharding.order, len(vocabulary))
    routes = sharding.routes(len(vocabulary))
    written = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal written
        for tokens in global_tokens(tokens_path, words_path, vocabulary):
            starts, records = partition(tokens, layout, routes, len(sharding))
            written += len(tokens)
            flat = records.reshape(-1)
            for s in range(len(sharding)):
                rows = slice(starts[s] * layout.columns, starts[s + 1] * layout.columns)
                yield pa.RecordBatch.from_arrays([number_column(flat[rows])], [_RECORDS])

    write_batches(records_path, batches())
    return written


def read_records(paths: Sequence[Path], shard: int, sharding: Sharding, columns: int) -> Records:
    """All records of one shard: uint64 [N, columns], in the order of the text."""
    records = np.empty((sharding.shards[shard].records, columns), np.uint64)
    flat = records.reshape(-1)
    filled = 0
    for path in paths:
        reader = open_batches(path)
        for b in range(shard, reader.num_record_batches, len(sharding)):
            batch = as_numpy(reader.get_batch(b).column(0))
            flat[filled : filled + len(batch)] = batch
            filled += len(batch)
    return records


def records_by_shard(path: Path, shards: int) -> Iterator[list[npt.NDArray[np.uint64]]]:
    """For each shard, its arrays in a file that `scatter_piece` wrote."""
    reader = open_batches(path)
    for shard in range(shards):
        numbers = range(shard, reader.num_record_batches, shards)
        yield [as_numpy(reader.get_batch(b).column(0)) for b in numbers]


def count_shard(
    records: Records, layout: RecordLayout, *, depth: int, adjusted: bool, keep_raw: bool
) -> ShardContexts:
    """Counts one shard: sorts its records, collects the lists of its contexts.

    Args:
        records: uint64 [N, columns], all of the shard's; they are sorted where they are.
        layout: of the records.
        depth: how many nearest words all of them have in common.
        adjusted: count adjusted, else raw.
        keep_raw: keep raw counts beside adjusted ones.
    """
    sort_records(records, np.empty_like(records))
    return collect(records, layout, depth=depth, adjusted=adjusted, keep_raw=keep_raw)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a counted shard holds, by the number of words before an n-gram's last: 1 .. n - 1.

    Attributes:
        rows: n-grams that pruning leaves, int64 [n - 1].
        counts_of_counts: of all n-grams, those with count 1, 2, 3, 4: int64 [n - 1, 4].
    """

    rows: list[int]
    counts_of_counts: list[list[int]]

    @classmethod
    def read(cls, folder: Path) -> "Counted":
        """Reads what `save_contexts` wrote."""
        return cls(**json.loads((folder / _COUNTED).read_text()))


def save_contexts(contexts: ShardContexts, thresholds: npt.NDArray[np.int64], folder: Path) -> int:
    """Writes what pruning leaves of a counted shard into an existing folder.

    Args:
        contexts: of the shard.
        thresholds: int64 [n], of orders 1 .. n.
        folder: where to.

    Returns:
        n-grams written.
    """
    order = len(thresholds)
    shortest = order - len(contexts.levels)
    missing = shortest - 1
    counts_of_counts = [count_counts(level.counts).tolist() for level in contexts.levels]
    pruned = bool(thresholds.any())
    levels = thin(contexts.levels, thresholds, shortest) if pruned else contexts.levels
    rows = [len(level.words) for level in levels]
    counted = Counted([0] * missing + rows, [[0] * 4] * missing + counts_of_counts)
    (folder / _COUNTED).write_text(json.dumps(asdict(counted)))
    if levels:
        whole = [column for level in levels for column in (level.words, level.first_words)]
        save_numbers(folder / _LEVELS, whole, _small_columns(levels))
    for j, level in enumerate(levels):
        if level.left_out is not None:
            left_out = {"count": level.left_out.counts, "words": level.left_out.words}
            write_table(folder / f"left-out-{j}.arrow", left_out)
    words, counts, raw = contexts.shared
    save_numbers(folder / _SHARED, [words, counts, *([] if raw is None else [raw])], [])
    return sum(rows)


def _small_columns(levels: Sequence[Level]) -> Iterator[Ids]:
    for level in levels:
        yield np.asarray(level.counts, np.uint32)
        yield lengths(level.list_ends)
        # The longest contexts have no children, which need not be written.
        yield lengths(level.child_ends if level is not levels[-1] else level.child_ends[:0])
        if level.raw_counts is not None:
            yield np.asarray(level.raw_counts, np.uint32)


def open_shared(folder: Path, *, raw: bool) -> SharedList:
    """`ShardContexts.shared` of what `save_contexts` wrote."""
    (words, counts, *rest), _ = open_numbers(folder / _SHARED, 2 + raw)
    return words, counts, rest[0] if raw else None


def has_levels(folder: Path, levels: int) -> bool:
    """Whether `open_levels` still has as many levels as `save_contexts` wrote."""
    return levels == 0 or (folder / _LEVELS).exists()


def give_up_levels(folder: Path, spares: Spares) -> None:
    """Takes what `open_levels` reads out of use, once it has been made use of; sums are kept."""
    spares.give(folder / _LEVELS)


def open_levels(folder: Path, levels: int, *, pruned: bool, raw: bool = False) -> list[Level]:
    """The levels that `save_contexts` wrote: thinned if `pruned`, with raw counts if `raw`."""
    if levels == 0:
        return []
    whole, small = open_numbers(folder / _LEVELS, 2 * levels)
    opened = []
    columns = len(small) // levels
    for j in range(levels):
        counts, list_lengths, children, *rest = small[j * columns : (j + 1) * columns]
        if j + 1 == levels:
            children = np.zeros_like(list_lengths)
        left_out = None
        if pruned:
            table = open_table(folder / f"left-out-{j}.arrow", _LEFT_OUT_SCHEMA)
            left_out = LeftOut(as_numpy(table["count"]), as_numpy(table["words"]))
        opened.append(
            Level(
                words=whole[2 * j],
                counts=counts,
                raw_counts=rest[0] if raw else None,
                list_ends=np.cumsum(list_lengths, dtype=np.uint32),
                child_ends=np.cumsum(children, dtype=np.uint32),
                first_words=whole[2 * j + 1],
                left_out=left_out,
            )
        )
    return opened
