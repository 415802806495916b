"""A growing vocabulary: text to word ids at the speed of one look at each word.

Kernel and class share the work: the kernel allocates nothing, and stops where a table is full; the
class makes it larger and calls again. Tables that change inside the loop would cost Numba a change
of reference counts at every word, which is more than all the rest.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lmserve.kernels import borrowing
from lmserve.text.keyed_table import (
    ID_BITS,
    NOTHING,
    Slots,
    build_keyed,
    find_keyed,
    keyed_entry,
)
from lmserve.text.scanning import Bytes, scan_word, signed
from lmserve.text.special_tokens import (
    DROP,
    EOS,
    FIRST_WORD,
    SPECIAL_WORDS,
    STOP,
    SpecialTokens,
)
from lmserve.text.word_table import Ids, Offsets

_Number = TypeVar("_Number", bound=np.generic)


@borrowing
def intern_words(
    text: Bytes,
    i: int,
    tokens: Ids,
    n: int,
    policy: Bytes,
    word_bytes: Bytes,
    known_bytes: Bytes,
    word_offsets: Offsets,
    counts: Offsets,
    slots: Slots,
    n_words: int,
) -> tuple[int, int, int, int]:
    """Word ids of lines, giving each new word the next id and counting all.

    It allocates nothing: it stops before a word for which a table of the `Interner` is too small.

    Args:
        text: uint8 [B], complete lines.
        i: the byte to begin with.
        tokens: uint32 [B + 1], takes the ids, each line ended by `EOS`.
        n: the tokens that it holds already.
        policy: uint8 [3], see `SpecialTokens.policy`.
        word_bytes: uint8, the words one after the other.
        known_bytes: the same, read-only as text is: else kernels were compiled for both.
        word_offsets: int64 [V + 1], where each word starts in `word_bytes`.
        counts: int64 [V].
        slots: uint64 [S, 2], see `keyed_table`.
        n_words: the words that the tables hold already.

    Returns:
        The byte that comes next, the number of tokens, that of words; the byte at which the policy
        stopped, or -1.
    """
    while i < len(text):
        begin = i
        i, first, h = scan_word(text, begin, len(text))
        word = EOS
        if i > begin:
            slot = find_keyed(text, begin, i, first, h, word_offsets, known_bytes, slots)
            entry = slots[slot, 1]
            if entry == NOTHING:
                start = word_offsets[n_words]
                end = start + i - begin
                if end > len(word_bytes) or n_words == len(counts):
                    return begin, n, n_words, -1
                # Numba takes seconds to compile an assignment of slices.
                for at in range(i - begin):
                    word_bytes[start + at] = text[begin + at]
                word_offsets[n_words + 1] = end
                slots[slot, 0] = first
                slots[slot, 1] = keyed_entry(i - begin, n_words)
                word = n_words
                n_words += 1
            else:
                word = signed(entry & ID_BITS)
                if word < FIRST_WORD and policy[word] == DROP:
                    continue
                if word < FIRST_WORD and policy[word] == STOP:
                    return i, n, n_words, begin
            # Most often one space follows.
            if i < len(text) and text[i] == 32:
                i += 1
        else:
            i += 1
            if text[begin] != 10:
                continue
        tokens[n] = word
        counts[word] += 1
        n += 1
    if len(text) > 0 and text[-1] != 10:
        tokens[n] = EOS
        counts[EOS] += 1
        n += 1
    return i, n, n_words, -1


class Interner:
    """A vocabulary that grows: gives each new word the next id, and counts every word.

    Ids 0, 1, 2 are `<unk>`, `<s>`, `</s>` from the start.
    """

    def __init__(self, special_tokens: SpecialTokens) -> None:
        self._policy = special_tokens.policy()
        self._size = FIRST_WORD
        self._word_bytes = np.frombuffer(b"".join(SPECIAL_WORDS), np.uint8)
        ends = np.cumsum([len(word) for word in SPECIAL_WORDS])
        self._word_offsets = np.concatenate(([0], ends)).astype(np.int64)
        self._counts = np.zeros(FIRST_WORD, np.int64)
        self._grow(1 << 10, 1 << 13)
        # Kept from call to call: new memory costs a page fault every thousand tokens.
        self._tokens = np.empty(0, np.uint32)

    def __len__(self) -> int:
        return self._size

    def tokenize(self, data: bytes) -> tuple[Ids, int]:
        """Interns the words of some complete lines.

        Returns:
            tokens, uint32 [N], each line ended by `EOS`, which the next call writes over; and the
            byte offset of a special token that `special_tokens` refuses, or -1.
        """
        # At most one token a byte, and one for a last line that has no end.
        if len(self._tokens) < len(data) + 1:
            self._tokens = np.empty(len(data) + 1, np.uint32)
        text = np.frombuffer(data, np.uint8)
        position, n, refused_at = 0, 0, -1
        while True:
            position, n, self._size, refused_at = intern_words(
                text,
                position,
                self._tokens,
                n,
                self._policy,
                self._word_bytes,
                self._known_bytes,
                self._word_offsets,
                self._counts,
                self._slots,
                self._size,
            )
            if position == len(text) or refused_at >= 0:
                return self._tokens[:n], refused_at
            longest_word = len(text) - position
            self._grow(2 * len(self._counts), 2 * self._used_bytes + longest_word)

    def words(self) -> tuple[Offsets, Bytes, npt.NDArray[np.int64]]:
        """Offsets, int64 [V + 1], and bytes of the words in id order, and counts, int64 [V]."""
        offsets = self._word_offsets[: self._size + 1]
        return offsets, self._word_bytes[: offsets[-1]], self._counts[: self._size]

    @property
    def _used_bytes(self) -> int:
        return int(self._word_offsets[self._size])

    def _grow(self, words: int, total_bytes: int) -> None:
        """Makes room for `words` words, a power of two, of `total_bytes` bytes in all."""
        self._word_bytes = _moved(self._word_bytes, self._used_bytes, total_bytes)
        self._word_offsets = _moved(self._word_offsets, self._size + 1, words + 1)
        self._counts = _moved(self._counts, self._size, words)
        offsets = self._word_offsets[: self._size + 1]
        self._known_bytes = self._word_bytes.view()
        self._known_bytes.flags.writeable = False
        self._slots = build_keyed(offsets, self._known_bytes, 2 * words)


def _moved(values: npt.NDArray[_Number], used: int, size: int) -> npt.NDArray[_Number]:
    # Memory that nobody has written to takes no place: zeros cost nothing until they are used.
    table = np.zeros(size, values.dtype)
    table[:used] = values[:used]
    return table
