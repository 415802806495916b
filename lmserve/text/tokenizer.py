"""Cutting lines of bytes into word ids, in one pass over the bytes.

Words are bytes: runs of anything but space, tab and carriage return; a line feed ends a sentence.
That is how KenLM's estimator splits text, and no encoding is assumed.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from lmserve.text.special_tokens import (
    DROP,
    EOS,
    FIRST_WORD,
    SPECIAL_WORDS,
    STOP,
    UNKNOWN,
    SpecialTokens,
)
from lmserve.text.word_table import (
    EMPTY,
    OOV,
    Bytes,
    Ids,
    Offsets,
    append_word,
    build_slots,
    find_slot,
    find_word,
)


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
                if action == STOP:
                    return ids[:n], line_offsets[: line + 1], begin
                if action == DROP:
                    continue
                if action == UNKNOWN:
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
            slot = find_slot(text, begin, i, word_offsets, word_bytes, slots)
            if slots[slot] == EMPTY:
                word_bytes, word_offsets, counts = append_word(
                    text[begin:i], word_bytes, word_offsets, counts, n_words
                )
                slots[slot] = n_words
                word = n_words
                n_words += 1
                if 2 * n_words > len(slots):
                    slots = build_slots(word_offsets[: n_words + 1], word_bytes, 2 * len(slots))
            else:
                word = int(slots[slot])
                if word < FIRST_WORD and policy[word] == DROP:
                    continue
                if word < FIRST_WORD and policy[word] == STOP:
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
