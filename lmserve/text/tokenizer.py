"""Cutting lines of bytes into word ids, in one pass over the bytes.

Words are bytes: runs of anything but space, tab and carriage return; a line feed ends a sentence.
That is how KenLM's estimator splits text, and no encoding is assumed.

A word's id is found in an open-addressing table of slots (linear probing, a power of two of them):
`slots[hash & mask]` holds an id or `EMPTY`.
"""

from enum import StrEnum

import numpy as np
import numpy.typing as npt
from numba import njit

UNK, BOS, EOS = 0, 1, 2
SPECIAL_WORDS = (b"<unk>", b"<s>", b"</s>")
FIRST_WORD = len(SPECIAL_WORDS)

EMPTY = np.uint32(0xFFFFFFFF)
# Stands in for the id of a word outside the vocabulary, to tell it from a counted `<unk>`.
OOV = np.uint32(0xFFFFFFFF)

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]

_KEEP, _DROP, _STOP, _UNKNOWN = 0, 1, 2, 3


class SpecialTokens(StrEnum):
    """What to do with `<s>`, `</s>` and `<unk>` written in the text."""

    ERROR = "error"
    KEEP_UNK = "keep-unk"
    SPACE = "space"

    def policy(self, *, querying: bool = False) -> Bytes:
        """What the kernels do on `<unk>`, `<s>`, `</s>`: uint8 [3].

        Args:
            querying: a text to be scored is never refused. Where text to be counted would be,
                the token is an unknown word: no counted text can have held it.
        """
        refuse = _UNKNOWN if querying else _STOP
        if self is SpecialTokens.KEEP_UNK:
            return np.array([_KEEP, refuse, refuse], np.uint8)
        return np.full(3, _DROP if self is SpecialTokens.SPACE else refuse, np.uint8)


@njit(cache=True, nogil=True)
def hash_word(text: Bytes, begin: int, end: int) -> np.uint64:
    """64-bit FNV-1a of text[begin:end], its bits then mixed by Murmur3's finaliser."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(begin, end):
        h = (h ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(cache=True, nogil=True)
def _equal(a: Bytes, a_begin: int, b: Bytes, b_begin: int, length: int) -> bool:
    for i in range(length):
        if a[a_begin + i] != b[b_begin + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _skip_spaces(text: Bytes, i: int) -> int:
    while i < len(text) and (text[i] == 32 or text[i] == 9 or text[i] == 13):
        i += 1
    return i


@njit(cache=True, nogil=True)
def _word_end(text: Bytes, i: int) -> int:
    while i < len(text) and not (text[i] == 32 or text[i] == 10 or text[i] == 9 or text[i] == 13):
        i += 1
    return i


@njit(cache=True, nogil=True)
def build_slots(word_offsets: Offsets, word_bytes: Bytes, size: int) -> Ids:
    """The slot table, uint32 [size], of distinct words; `size` is a power of two above V."""
    slots = np.full(size, EMPTY, np.uint32)
    mask = np.uint64(size - 1)
    for word in range(len(word_offsets) - 1):
        slot = hash_word(word_bytes, word_offsets[word], word_offsets[word + 1]) & mask
        while slots[slot] != EMPTY:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = word
    return slots


@njit(cache=True, nogil=True)
def find_word(
    text: Bytes, begin: int, end: int, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> np.uint32:
    """The id of text[begin:end], or `OOV`. Safe on damaged tables: it reads inside the arrays."""
    mask = np.uint64(len(slots) - 1)
    slot = hash_word(text, begin, end) & mask
    for _ in range(len(slots)):
        word = slots[slot]
        if word == EMPTY or word >= len(word_offsets) - 1:
            return OOV
        start, stop = word_offsets[word], word_offsets[word + 1]
        if (
            stop - start == end - begin
            and start >= 0
            and stop <= len(word_bytes)
            and _equal(text, begin, word_bytes, start, end - begin)
        ):
            return np.uint32(word)
        slot = (slot + np.uint64(1)) & mask
    return OOV


@njit(cache=True, nogil=True)
def _count(text: Bytes) -> tuple[int, int]:
    """The number of words and of lines."""
    lines = 1 if len(text) > 0 and text[-1] != 10 else 0
    words = 0
    inside = False
    for byte in text:
        space = byte == 32 or byte == 10 or byte == 9 or byte == 13
        lines += byte == 10
        words += inside and space
        inside = not space
    return words + inside, lines


@njit(cache=True, nogil=True)
def encode(
    text: Bytes,
    eos: bool,
    policy: Bytes,
    word_offsets: Offsets,
    word_bytes: Bytes,
    slots: Ids,
) -> tuple[Ids, Offsets, int]:
    """Word ids of every line of a text, over a fixed vocabulary.

    Args:
        text: uint8 [B]; every line, also an empty one, is a sentence.
        eos: append `EOS` to every sentence.
        policy: uint8 [3], see `SpecialTokens.policy`.
        word_offsets: int64 [V + 1], where each word starts in `word_bytes`.
        word_bytes: uint8, the words one after the other.
        slots: uint32, from `build_slots`.

    Returns:
        ids, uint32 [N] (`OOV` for unknown words); line_offsets, int64 [L + 1]: line l is
        ids[line_offsets[l]:line_offsets[l + 1]]; the byte at which the policy stopped, or -1.
    """
    words, lines = _count(text)
    ids = np.empty(words + lines, np.uint32)
    line_offsets = np.empty(lines + 1, np.int64)
    n = 0
    line = 0
    line_offsets[0] = 0
    i = 0
    while i < len(text):
        i = _skip_spaces(text, i)
        begin = i
        i = _word_end(text, i)
        if i > begin:
            word = find_word(text, begin, i, word_offsets, word_bytes, slots)
            if word < FIRST_WORD:
                action = policy[word]
                if action == _STOP:
                    return ids[:n], line_offsets[: line + 1], begin
                if action == _DROP:
                    continue
                if action == _UNKNOWN:
                    word = OOV
            ids[n] = word
            n += 1
        elif i < len(text):
            if eos:
                ids[n] = EOS
                n += 1
            line += 1
            line_offsets[line] = n
            i += 1
    if line < lines:
        if eos:
            ids[n] = EOS
            n += 1
        line_offsets[lines] = n
    return ids[:n], line_offsets, -1


@njit(cache=True, nogil=True)
def _find_slot(
    text: Bytes, begin: int, end: int, word_offsets: Offsets, word_bytes: Bytes, slots: Ids
) -> np.uint64:
    """The slot of text[begin:end], or the empty slot where it belongs."""
    mask = np.uint64(len(slots) - 1)
    slot = hash_word(text, begin, end) & mask
    while slots[slot] != EMPTY:
        start = word_offsets[slots[slot]]
        stop = word_offsets[slots[slot] + 1]
        if stop - start == end - begin and _equal(text, begin, word_bytes, start, end - begin):
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _append_word(
    word: Bytes, word_bytes: Bytes, word_offsets: Offsets, counts: Offsets, n_words: int
) -> tuple[Bytes, Offsets, Offsets]:
    """Writes word number `n_words` into the tables, doubling those that are full."""
    start = word_offsets[n_words]
    end = start + len(word)
    if end > len(word_bytes):
        word_bytes = np.concatenate((word_bytes, np.empty(end, np.uint8)))
    if n_words + 1 >= len(word_offsets):
        word_offsets = np.concatenate((word_offsets, np.empty(n_words, np.int64)))
        counts = np.concatenate((counts, np.zeros(n_words, np.int64)))
    word_bytes[start:end] = word
    word_offsets[n_words + 1] = end
    return word_bytes, word_offsets, counts


@njit(cache=True, nogil=True)
def intern_words(
    text: Bytes,
    policy: Bytes,
    word_bytes: Bytes,
    word_offsets: Offsets,
    counts: Offsets,
    slots: Ids,
    n_words: int,
) -> tuple[Ids, Bytes, Offsets, Offsets, Ids, int, int]:
    """Word ids of every line, giving each new word the next id and counting all.

    The four tables are those of an `Interner`; they come back, grown where they were too small.

    Returns:
        tokens, uint32 [N], each line ended by `EOS`; the four tables; the number of words;
        the byte at which the policy stopped, or -1.
    """
    tokens = np.empty(len(text) + 1, np.uint32)
    n = 0
    i = 0
    stopped_at = -1
    while i < len(text):
        i = _skip_spaces(text, i)
        begin = i
        i = _word_end(text, i)
        word = EOS
        if i > begin:
            slot = _find_slot(text, begin, i, word_offsets, word_bytes, slots)
            if slots[slot] == EMPTY:
                word_bytes, word_offsets, counts = _append_word(
                    text[begin:i], word_bytes, word_offsets, counts, n_words
                )
                slots[slot] = n_words
                word = n_words
                n_words += 1
                if 2 * n_words > len(slots):
                    slots = build_slots(word_offsets[: n_words + 1], word_bytes, 2 * len(slots))
            else:
                word = int(slots[slot])
                if word < FIRST_WORD and policy[word] == _DROP:
                    continue
                if word < FIRST_WORD and policy[word] == _STOP:
                    stopped_at = begin
                    break
        elif i < len(text):
            i += 1
        else:
            break
        tokens[n] = word
        counts[word] += 1
        n += 1
    if stopped_at < 0 and len(text) > 0 and text[-1] != 10:
        tokens[n] = EOS
        counts[EOS] += 1
        n += 1
    return tokens[:n].copy(), word_bytes, word_offsets, counts, slots, n_words, stopped_at


class Interner:
    """A vocabulary that grows: gives each new word the next id, and counts every word.

    Ids 0, 1, 2 are `<unk>`, `<s>`, `</s>` from the start.
    """

    def __init__(self, special_tokens: SpecialTokens) -> None:
        self._policy = special_tokens.policy()
        self._word_bytes = np.frombuffer(b"".join(SPECIAL_WORDS), np.uint8).copy()
        ends = np.cumsum([len(word) for word in SPECIAL_WORDS])
        self._word_offsets = np.concatenate(([0], ends)).astype(np.int64)
        self._counts = np.zeros(FIRST_WORD, np.int64)
        self._slots = build_slots(self._word_offsets, self._word_bytes, 16)
        self._size = FIRST_WORD

    def __len__(self) -> int:
        return self._size

    def tokenize(self, data: bytes) -> tuple[Ids, int]:
        """Interns the words of some complete lines.

        Returns:
            tokens, uint32 [N], each line ended by `EOS`; and the byte offset of a special token
            that `special_tokens` refuses, or -1.
        """
        (
            tokens,
            self._word_bytes,
            self._word_offsets,
            self._counts,
            self._slots,
            self._size,
            refused_at,
        ) = intern_words(
            np.frombuffer(data, np.uint8),
            self._policy,
            self._word_bytes,
            self._word_offsets,
            self._counts,
            self._slots,
            self._size,
        )
        return tokens, refused_at

    def words(self) -> tuple[Offsets, Bytes, npt.NDArray[np.int64]]:
        """Offsets, int64 [V + 1], and bytes of the words in id order, and counts, int64 [V]."""
        offsets = self._word_offsets[: self._size + 1]
        return offsets, self._word_bytes[: offsets[-1]], self._counts[: self._size]


def find_refused(data: bytes, special_tokens: SpecialTokens) -> int:
    """The byte offset of the first special token that `special_tokens` refuses, or -1."""
    offsets, word_bytes, _ = Interner(special_tokens).words()
    slots = build_slots(offsets, word_bytes, 16)
    text = np.frombuffer(data, np.uint8)
    *_, refused_at = encode(text, False, special_tokens.policy(), offsets, word_bytes, slots)
    return int(refused_at)
