"""The vocabulary: words by falling frequency, and the way back from a word to its id."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from lmserve.errors import CorruptModelError
from lmserve.ngram.tables import as_numpy, binary_column, binary_parts, open_table, write_table
from lmserve.text.special_tokens import BOS, EOS, FIRST_WORD, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.tokenizer import encode
from lmserve.text.word_table import OOV, Bytes, Ids, Offsets, build_slots, find_word

WORDS_FILE = "vocabulary.arrow"
SLOTS_FILE = "vocabulary-slots.arrow"
WORDS_SCHEMA = {"word": pa.large_binary(), "count": pa.int64()}
SLOTS_SCHEMA = {"id": pa.uint32()}


class Vocabulary:
    """V distinct words with their counts, mapped from disk.

    Ids 0, 1, 2 are `<unk>`, `<s>`, `</s>`; from 3 on the most frequent word comes first, equally
    frequent words in byte order. The order depends on the text alone, not on who counted it.
    """

    def __init__(self, words: pa.Array, counts: npt.NDArray[np.int64], slots: Ids) -> None:
        self.counts = counts
        self.offsets, self.bytes = binary_parts(words)
        self.slots = slots
        if len(words) < FIRST_WORD or len(slots) <= len(words) or len(slots) & (len(slots) - 1):
            raise CorruptModelError(
                f"a vocabulary of {len(words)} words with {len(slots)} slots cannot be",
                "Build the model again, or copy it again.",
            )

    @classmethod
    def open(cls, folder: Path) -> "Vocabulary":
        """Maps the vocabulary in `folder`; raises `CorruptModelError` where it is damaged."""
        words = open_table(folder / WORDS_FILE, WORDS_SCHEMA)
        slots = open_table(folder / SLOTS_FILE, SLOTS_SCHEMA)
        return cls(words["word"], as_numpy(words["count"]), as_numpy(slots["id"]))

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def word_count(self) -> int:
        """Words in the text that was counted, without its sentence ends."""
        return int(self.counts.sum() - self.counts[BOS] - self.counts[EOS])

    def __iter__(self) -> Iterator[bytes]:
        return (self[word] for word in range(len(self)))

    def __getitem__(self, word_id: int) -> bytes:
        """The bytes of a word."""
        return self.bytes[self.offsets[word_id] : self.offsets[word_id + 1]].tobytes()

    def words(self) -> pa.Array:
        """All words as a `large_binary` column.

        Raises:
            CorruptModelError: the offsets point outside the words' bytes.
        """
        try:
            words = binary_column(self.offsets, self.bytes)
            words.validate(full=True)
        except pa.ArrowException as error:
            raise CorruptModelError(
                f"the vocabulary is damaged: {error}", "Build the model again, or copy it again."
            ) from error
        return words

    def find(self, word: bytes) -> int | None:
        """The id of a word, or None."""
        text = np.frombuffer(word, np.uint8)
        found = find_word(text, 0, len(text), self.offsets, self.bytes, self.slots)
        return None if found == OOV else int(found)

    def find_all(self, offsets: Offsets, data: Bytes) -> Ids:
        """The ids of many words, uint32 [N]; `OOV` for those that are not in the vocabulary."""
        found: Ids = _find_words(offsets, data, self.offsets, self.bytes, self.slots)
        return found

    def encode(
        self, text: Bytes, special_tokens: SpecialTokens, *, eos: bool, querying: bool
    ) -> tuple[Ids, Offsets, int]:
        """Word ids of every line of a text; see `lmserve.text.tokenizer.encode`."""
        if querying and special_tokens is SpecialTokens.KEEP_UNK and self.counts[UNK] == 0:
            # There was no <unk> in the counted text: it is as unknown as any other word.
            special_tokens = SpecialTokens.ERROR
        policy = special_tokens.policy(querying=querying)
        ids, lines, refused_at = encode(text, eos, policy, self.offsets, self.bytes, self.slots)
        return ids, lines, refused_at


def write_vocabulary(pieces: Iterable[pa.Table], folder: Path) -> None:
    """Merges the words counted in the pieces of a text, and ranks them.

    Args:
        pieces: tables of `WORDS_SCHEMA`, each beginning with the special words.
        folder: where `WORDS_FILE` and `SLOTS_FILE` are written.
    """
    tables = list(pieces)
    special_counts = sum(as_numpy(table["count"].combine_chunks())[:FIRST_WORD] for table in tables)
    merged = (
        pa.concat_tables(table.slice(FIRST_WORD) for table in tables)
        .group_by("word")
        .aggregate([("count", "sum")])
    )
    order = pc.sort_indices(merged, sort_keys=[("count_sum", "descending"), ("word", "ascending")])
    ranked = merged.take(order)
    words = pa.concat_arrays(
        [
            pa.array(SPECIAL_WORDS, pa.large_binary()),
            pa.concat_arrays(ranked["word"].chunks or [pa.array([], pa.large_binary())]),
        ]
    )
    counts = np.concatenate([special_counts, ranked["count_sum"].to_numpy()]).astype(np.int64)
    # Sentences begin as often as they end; the text itself holds no <s>.
    counts[BOS] = counts[EOS]
    offsets, data = binary_parts(words)
    slots = build_slots(offsets, data, 1 << (2 * len(words) - 1).bit_length())
    write_table(folder / SLOTS_FILE, {"id": slots})
    write_table(folder / WORDS_FILE, {"word": binary_column(offsets, data), "count": counts})


@njit(cache=True, nogil=True)
def _find_words(
    offsets: Offsets, data: Bytes, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> Ids:
    found = np.empty(len(offsets) - 1, np.uint32)
    for i in range(len(found)):
        found[i] = find_word(data, offsets[i], offsets[i + 1], word_offsets, word_bytes, slots)
    return found
