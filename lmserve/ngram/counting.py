"""Counting: text to token ids with a piece's own vocabulary, then n-gram records by shard.

Stage 1, `tokenize_piece`: lines -> tokens (ids local to the piece) and the piece's words.
Stage 2, `scatter_piece`: tokens -> one record per token, filed under the shard of its context.

A record is a token with the words before it in its sentence: columns `word` and `context_1` (the
nearest) to `context_{order-1}`. The sentence's start is `<s>`; there is `NO_WORD` before that.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from lmserve.ngram.tables import (
    as_numpy,
    binary_column,
    binary_parts,
    open_batches,
    open_table,
    write_batches,
    write_table,
)
from lmserve.ngram.vocabulary import WORDS_SCHEMA, Vocabulary
from lmserve.text.sources import Piece, read_blocks, special_token_error
from lmserve.text.special_tokens import BOS, EOS, SpecialTokens
from lmserve.text.tokenizer import Interner
from lmserve.text.word_table import Ids, Offsets

NO_WORD = np.uint32(0xFFFFFFFF)
_TOKENS = "token"


def tokenize_piece(
    piece: Piece, special_tokens: SpecialTokens, tokens_path: Path, words_path: Path
) -> int:
    """Cuts a piece of text into words.

    Args:
        piece: what to read.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        tokens_path: Arrow file to write, column `token` uint32, sentences ended by `EOS`.
        words_path: Arrow file to write, `WORDS_SCHEMA`, row = local id.

    Returns:
        Tokens read, sentence ends included.

    Raises:
        InputError: the text cannot be read, or holds a special token that may not be there.
    """
    interner = Interner(special_tokens)

    def batches() -> Iterator[pa.RecordBatch]:
        for block in read_blocks(piece):
            tokens, refused_at = interner.tokenize(block.data)
            if refused_at >= 0:
                raise special_token_error(piece, block, refused_at)
            yield pa.record_batch([tokens], [_TOKENS])
        yield pa.record_batch([np.empty(0, np.uint32)], [_TOKENS])

    write_batches(tokens_path, batches())
    offsets, data, counts = interner.words()
    write_table(words_path, {"word": binary_column(offsets, data), "count": counts})
    return int(counts.sum())


def scatter_piece(
    tokens_path: Path,
    words_path: Path,
    vocabulary: Vocabulary,
    *,
    order: int,
    shard_starts: npt.NDArray[np.int64],
    records_path: Path,
) -> int:
    """Turns a piece's tokens into n-gram records, filed by shard.

    Args:
        tokens_path: written by `tokenize_piece`.
        words_path: written by `tokenize_piece`.
        vocabulary: of the whole text.
        order: n, at least 2.
        shard_starts: int64 [S + 1]; shard s holds contexts that end in a word whose id is in
            [shard_starts[s], shard_starts[s + 1]).
        records_path: Arrow file to write; batch b holds records of shard b modulo S.

    Returns:
        Records written.
    """
    words = open_table(words_path, WORDS_SCHEMA)
    global_ids = vocabulary.find_all(*binary_parts(words["word"]))
    shards = len(shard_starts) - 1
    shard_of_word = np.repeat(np.arange(shards, dtype=np.uint32), np.diff(shard_starts))
    reader = open_batches(tokens_path)
    names = ["word", *(f"context_{j}" for j in range(1, order))]
    written = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal written
        for b in range(reader.num_record_batches):
            tokens = global_ids[as_numpy(reader.get_batch(b).column(0))]
            starts, columns = partition_records(tokens, order, shard_of_word, shards)
            written += len(tokens)
            for s in range(shards):
                rows = slice(starts[s], starts[s + 1])
                yield pa.RecordBatch.from_arrays([pa.array(c[rows]) for c in columns], names)

    write_batches(records_path, batches())
    return written


def read_records(paths: list[Path], shard: int, shards: int, order: int) -> list[Ids]:
    """All records of one shard: `order` columns, uint32 [N] each, in input order."""
    parts: list[list[Ids]] = [[] for _ in range(order)]
    for path in paths:
        reader = open_batches(path)
        for b in range(shard, reader.num_record_batches, shards):
            batch = reader.get_batch(b)
            for column, part in enumerate(parts):
                part.append(as_numpy(batch.column(column)))
    return [np.concatenate(part) for part in parts]


@njit(cache=True, nogil=True)
def partition_records(
    tokens: Ids, order: int, shard_of_word: Ids, shards: int
) -> tuple[Offsets, npt.NDArray[np.uint32]]:
    """Records of complete sentences, grouped by the shard of the word before.

    Args:
        tokens: uint32 [N], each sentence ended by `EOS`.
        order: n, at least 2.
        shard_of_word: uint32 [V].
        shards: S.

    Returns:
        starts, int64 [S + 1], the rows of each shard; columns, uint32 [order, N].
    """
    starts = np.zeros(shards + 1, np.int64)
    previous = np.uint32(BOS)
    for token in tokens:
        starts[shard_of_word[previous] + 1] += 1
        previous = np.uint32(BOS) if token == EOS else token
    for s in range(shards):
        starts[s + 1] += starts[s]
    cursors = starts[:-1].copy()
    columns = np.empty((order, len(tokens)), np.uint32)
    position = 0
    for i in range(len(tokens)):
        previous = tokens[i - 1] if position > 0 else np.uint32(BOS)
        shard = shard_of_word[previous]
        row = cursors[shard]
        cursors[shard] += 1
        columns[0, row] = tokens[i]
        for j in range(1, order):
            if j <= position:
                columns[j, row] = tokens[i - j]
            else:
                columns[j, row] = BOS if j == position + 1 else NO_WORD
        position = 0 if tokens[i] == EOS else position + 1
    return starts, columns


def plan_shards(
    word_counts: npt.NDArray[np.int64], *, minimum: int, records_per_shard: int
) -> npt.NDArray[np.int64]:
    """Cuts the vocabulary into ranges of ids with about equally many records.

    A word precedes as many tokens as it has occurrences, so each shard's size is known exactly
    before anything moves. One word is never split: the largest shard may exceed the target by
    the count of its most frequent word.

    Args:
        word_counts: int64 [V], occurrences of each word; of `<s>`, sentences.
        minimum: shards to make at least, where there are words enough.
        records_per_shard: target.

    Returns:
        shard_starts, int64 [S + 1], from 0 to V.
    """
    records = word_counts.copy()
    records[EOS] = 0
    total = int(records.sum())
    shards = min(max(minimum, -(-total // records_per_shard), 1), len(records))
    targets = total * np.arange(1, shards) / shards
    cuts = np.searchsorted(np.cumsum(records), targets) + 1
    return np.unique(np.concatenate(([0], cuts, [len(records)]))).astype(np.int64)
