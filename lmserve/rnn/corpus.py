"""Text -> the words of a network: its vocabulary, and the text as a row of numbers.

Words are counted and found by the same code as for n-gram models, so that a network and an n-gram
model of the same text have the same vocabulary, and can be mixed. Inside the network words have
other numbers, here called rows: by falling frequency, as an adaptive softmax wants them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lmserve.errors import RefusedTextError
from lmserve.ngram.counting import global_tokens, tokenize_piece
from lmserve.ngram.limiting import ALL_WORDS, VocabularyLimit
from lmserve.ngram.tables import open_table
from lmserve.ngram.vocabulary import WORDS_SCHEMA, Vocabulary, write_vocabulary
from lmserve.text.sources import (
    DEFAULT_COLUMN,
    Piece,
    find_files,
    read_blocks,
    special_token_error,
    split,
)
from lmserve.text.special_tokens import BOS, EOS, UNK, SpecialTokens
from lmserve.text.tokenization import Segment, identity, segmented
from lmserve.text.tokenizer import find_refused
from lmserve.text.word_table import OOV, Ids

Rows = npt.NDArray[np.int64]
_PIECE_BYTES = 64 << 20


@dataclass(frozen=True)
class Numbering:
    """Which row each word of a vocabulary has in a network.

    `<s>` has none: a text begins as if a sentence had just ended, so that the network sees one
    mark only.

    Attributes:
        row_of_id: int64 [V], -1 for `<s>`; the last one, for words outside, is that of `<unk>`.
        id_of_row: uint32 [V - 1].
    """

    row_of_id: Rows
    id_of_row: Ids

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "Numbering":
        """By falling count, equal counts by id."""
        order = np.argsort(-vocabulary.counts, kind="stable")
        id_of_row = order[order != BOS].astype(np.uint32)
        row_of_id = np.full(len(vocabulary), -1, np.int64)
        row_of_id[id_of_row] = np.arange(len(id_of_row))
        return cls(row_of_id, id_of_row)

    def __len__(self) -> int:
        return len(self.id_of_row)

    @property
    def eos(self) -> int:
        """The row of the sentence's end."""
        return int(self.row_of_id[EOS])

    def rows(self, ids: Ids) -> Rows:
        """The rows of words, int64 [N]; of `OOV`, that of `<unk>`."""
        return self.row_of_id[np.where(ids == OOV, np.uint32(UNK), ids)]


def count_words(
    inputs: Sequence[str],
    special_tokens: SpecialTokens,
    folder: Path,
    scratch: Path,
    *,
    limit: VocabularyLimit = ALL_WORDS,
    segment: Segment = identity,
    column: str = DEFAULT_COLUMN,
) -> Rows:
    """Reads a text to train on, and writes its vocabulary.

    Args:
        inputs: files, URLs and patterns.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        folder: where the vocabulary is written.
        scratch: an existing folder for files that are not needed afterwards.
        limit: which words stay. With no limit and without `<unk>` in the text, words that occur
            once become `<unk>`, from which the network learns what an unknown word is like.
        segment: turns lines into lines of tokens.
        column: of JSON and Parquet, the field that holds the text.

    Returns:
        The text as rows, sentences ended by that of `EOS`: int64 [N].

    Raises:
        InputError: the text cannot be read, holds no word, or a special token that it may not.
    """
    pieces = split(find_files(inputs), _PIECE_BYTES, column)
    paths = [(scratch / f"{p.index}.tokens", scratch / f"{p.index}.words") for p in pieces]
    for piece, (tokens, words) in zip(pieces, paths, strict=True):
        tokenize_piece(piece, special_tokens, tokens, words, segment)
    tables = [pa.table(open_table(words, WORDS_SCHEMA)) for _, words in paths]
    write_vocabulary(tables, folder, limit)
    vocabulary = Vocabulary.open(folder)
    if limit == ALL_WORDS and vocabulary.counts[UNK] == 0:
        repeated = int((vocabulary.counts[3:] > 1).sum())
        if repeated:
            write_vocabulary(tables, folder, VocabularyLimit(repeated))
            vocabulary = Vocabulary.open(folder)
    if vocabulary.word_count == 0:
        raise RefusedTextError(
            f"the input holds no word: {', '.join(inputs)}", "Give text with one sentence a line."
        )
    numbering = Numbering.of(vocabulary)
    parts = [numbering.rows(ids) for pair in paths for ids in global_tokens(*pair, vocabulary)]
    return np.concatenate(parts)


def read_rows(
    pieces: Sequence[Piece],
    vocabulary: Vocabulary,
    special_tokens: SpecialTokens,
    segment: Segment = identity,
) -> Rows:
    """A text as rows of a given vocabulary, sentences ended by that of `EOS`: int64 [N].

    Raises:
        InputError: the text cannot be read, is empty, or holds a special token that it may not.
    """
    numbering = Numbering.of(vocabulary)
    parts: list[Rows] = [np.empty(0, np.int64)]
    for piece in pieces:
        for block in segmented(read_blocks(piece), segment):
            refused_at = find_refused(block.data, special_tokens)
            if refused_at >= 0:
                raise special_token_error(piece, block, refused_at)
            text = np.frombuffer(block.data, np.uint8)
            ids, _, _ = vocabulary.encode(text, special_tokens, eos=True, querying=True)
            parts.append(numbering.rows(ids))
    rows = np.concatenate(parts)
    if len(rows) == 0:
        raise RefusedTextError("the text holds no line", "Give text with one sentence a line.")
    return rows
