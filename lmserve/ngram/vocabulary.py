"""The vocabulary: words in the order of their hashes, and the way from a word to its id."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from lmserve.errors import CorruptModelError
from lmserve.ngram.limiting import ALL_WORDS, VocabularyLimit
from lmserve.ngram.tables import (
    as_numpy,
    binary_column,
    binary_parts,
    number_column,
    open_table,
    write_table,
)
from lmserve.text.batching import encode_texts
from lmserve.text.special_tokens import BOS, EOS, FIRST_WORD, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.tokenizer import encode
from lmserve.text.word_table import (
    OOV,
    Bytes,
    Ids,
    Offsets,
    build_slots,
    equal_bytes,
    find_word,
    hash_word,
)

WORDS_FILE = "vocabulary.arrow"
SLOTS_FILE = "vocabulary-slots.arrow"
WORDS_SCHEMA = {"word": pa.large_binary(), "count": pa.int64()}
SLOTS_SCHEMA = {"id": pa.uint32()}


def vocabulary_files(folder: Path) -> tuple[Path, Path]:
    """The files of a vocabulary in `folder`."""
    return folder / SLOTS_FILE, folder / WORDS_FILE


class Vocabulary:
    """V distinct words with their counts, mapped from disk.

    Ids 0, 1, 2 are `<unk>`, `<s>`, `</s>`; from 3 on words are in the order of their 64-bit
    hashes, those of equal hash in byte order. How frequent a word is says nothing of its id, so
    that any sorted list of ids is evenly spread, and a search in it finds its place at once.
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

    def encode_texts(
        self, text: Bytes, offsets: Offsets, special_tokens: SpecialTokens, *, eos: bool
    ) -> tuple[Ids, Offsets]:
        """Word ids of texts to be scored; see `lmserve.text.batching.encode_texts`."""
        if special_tokens is SpecialTokens.KEEP_UNK and self.counts[UNK] == 0:
            # There was no <unk> in the counted text: it is as unknown as any other word.
            special_tokens = SpecialTokens.ERROR
        policy = special_tokens.policy(querying=True)
        ids, starts = encode_texts(text, offsets, eos, policy, self.offsets, self.bytes, self.slots)
        return ids, starts


def write_vocabulary(
    pieces: Iterable[pa.Table], folder: Path, limit: VocabularyLimit = ALL_WORDS
) -> None:
    """Merges the words counted in the pieces of a text, and orders them.

    Args:
        pieces: tables of `WORDS_SCHEMA`, each beginning with the special words.
        folder: where `WORDS_FILE` and `SLOTS_FILE` are written.
        limit: which words stay; all others are counted as `<unk>`.

    Raises:
        InputError: the limit's file cannot be read.
    """
    tables = list(pieces)
    special = [as_numpy(table["count"].combine_chunks())[:FIRST_WORD] for table in tables]
    special_counts = np.sum(special, axis=0)
    counted = pa.concat_tables(table.slice(FIRST_WORD) for table in tables)
    words, counts = _merge(
        counted["word"].combine_chunks(), as_numpy(counted["count"].combine_chunks())
    )
    if limit != ALL_WORDS:
        keep = limit.keep(words, counts)
        special_counts[UNK] += counts[~keep].sum()
        words, counts = words.filter(pa.array(keep)), counts[keep]
    ends = np.cumsum([0, *map(len, SPECIAL_WORDS)])
    special_words = np.frombuffer(b"".join(SPECIAL_WORDS), np.uint8)
    words = pa.concat_arrays([binary_column(ends, special_words), words])
    counts = np.concatenate([special_counts, counts]).astype(np.int64)
    # Sentences begin as often as they end; the text itself holds no <s>.
    counts[BOS] = counts[EOS]
    save_vocabulary(words, counts, folder)


def save_vocabulary(words: pa.Array, counts: npt.NDArray[np.int64], folder: Path) -> None:
    """Writes the tables of a vocabulary.

    Args:
        words: `large_binary` [V], the special words, then the others in `hash_order`.
        counts: int64 [V].
        folder: where `WORDS_FILE` and `SLOTS_FILE` are written.
    """
    offsets, data = binary_parts(words)
    slots = build_slots(offsets, data, 1 << (2 * len(words) - 1).bit_length())
    write_table(folder / SLOTS_FILE, {"id": slots})
    write_table(folder / WORDS_FILE, {"word": binary_column(offsets, data), "count": counts})


def _merge(
    words: pa.Array, counts: npt.NDArray[np.int64]
) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Distinct words in `hash_order`, and the sums of their counts, of words that may repeat."""
    offsets, data = binary_parts(words)
    hashes = hash_words(offsets, data)
    first, totals, collide = _merge_runs(np.argsort(hashes), hashes, offsets, data, counts)
    if not collide:
        return words.take(number_column(first)), totals
    merged = (
        pa.table({"word": words, "count": counts}).group_by("word").aggregate([("count", "sum")])
    )
    distinct = merged["word"].combine_chunks()
    order = hash_order(distinct)
    totals = as_numpy(merged["count_sum"].combine_chunks())
    return distinct.take(number_column(order)), totals[order]


@njit(cache=True, nogil=True)
def _merge_runs(
    order: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    offsets: Offsets,
    data: Bytes,
    counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    """One word of every run of equal hashes, and the run's count; whether a run has several."""
    first = np.empty(len(order), np.int64)
    totals = np.empty(len(order), np.int64)
    n = -1
    for i in range(len(order)):
        word = order[i]
        length = offsets[word + 1] - offsets[word]
        if i == 0 or hashes[word] != hashes[first[n]]:
            n += 1
            first[n] = word
            totals[n] = 0
        elif offsets[first[n] + 1] - offsets[first[n]] != length or not equal_bytes(
            data, offsets[first[n]], data, offsets[word], length
        ):
            return first[:0], totals[:0], True
        totals[n] += counts[word]
    return first[: n + 1], totals[: n + 1], False


def hash_order(words: pa.Array) -> npt.NDArray[np.int64]:
    """The order by (hash, bytes) of distinct words: int64 [N], indices into `words`.

    Args:
        words: `large_binary` [N].
    """
    offsets, data = binary_parts(words)
    hashes = hash_words(offsets, data)
    order = np.argsort(hashes)
    ordered = hashes[order]
    ties = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(ties) == 0:
        return order
    # Nobody meets this by chance; who makes such words gets the same ids on every machine.
    same = np.union1d(ties, ties + 1)
    resolved = sorted(
        order[same].tolist(), key=lambda word: (int(hashes[word]), words[word].as_py())
    )
    order[same] = resolved
    return order


@njit(cache=True, nogil=True)
def hash_words(offsets: Offsets, data: Bytes) -> npt.NDArray[np.uint64]:
    """The hash of every word, uint64 [N]; `offsets` int64 [N + 1] into `data`, uint8."""
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(hashes)):
        hashes[i] = hash_word(data, offsets[i], offsets[i + 1])
    return hashes


@njit(cache=True, nogil=True)
def _find_words(
    offsets: Offsets, data: Bytes, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> Ids:
    found = np.empty(len(offsets) - 1, np.uint32)
    for i in range(len(found)):
        found[i] = find_word(data, offsets[i], offsets[i + 1], word_offsets, word_bytes, slots)
    return found
