"""Cutting many texts into word ids at once, for scoring.

Like `tokenizer.encode`, but the texts are given by their offsets, as Arrow columns hold them, and
words are looked up some at a time: the memory of all is asked for before the first is compared.
"""

import numpy as np
from numba import njit

from lmserve.kernels import borrowing, inlined
from lmserve.prefetching import prefetch
from lmserve.text.scanning import scan_word
from lmserve.text.special_tokens import DROP, EOS, FIRST_WORD, UNKNOWN
from lmserve.text.word_table import OOV, Bytes, Ids, Offsets, equal_bytes, find_word

_BATCH = 64
# Stands in a batch for the end of a text.
_TEXT_END = -1


@njit(cache=True, nogil=True)
def line_offsets(text: Bytes) -> Offsets:
    """Where each line begins, and the end of the last: int64 [L + 1]."""
    lines = 0
    for byte in text:
        lines += byte == 10
    offsets = np.empty(lines + 2, np.int64)
    offsets[0] = 0
    line = 0
    for i in range(len(text)):
        if text[i] == 10:
            line += 1
            offsets[line] = i + 1
    if len(text) > 0 and text[-1] != 10:
        line += 1
        offsets[line] = len(text)
    return offsets[: line + 1]


@njit(cache=True, nogil=True)
def encode_texts(
    text: Bytes,
    offsets: Offsets,
    eos: bool,
    policy: Bytes,
    word_offsets: Offsets,
    word_bytes: Bytes,
    slots: Ids,
) -> tuple[Ids, Offsets]:
    """Word ids of every text; a line feed inside one separates words like a space.

    Args:
        text: uint8 [B].
        offsets: int64 [T + 1]; text t is text[offsets[t]:offsets[t + 1]].
        eos: append `EOS` to every text.
        policy: uint8 [3], see `SpecialTokens.policy`, none of them `STOP`.
        word_offsets: and so on, as in `tokenizer.encode`.

    Returns:
        ids, uint32 [N] (`OOV` for unknown words); int64 [T + 1], where those of each text begin.
    """
    texts = len(offsets) - 1
    capacity = texts + 1
    if texts > 0:
        capacity += (offsets[texts] - offsets[0] + texts) // 2 + 1
    ids = np.empty(capacity, np.uint32)
    starts = np.zeros(texts + 1, np.int64)
    begins, ends = np.empty(_BATCH, np.int64), np.empty(_BATCH, np.int64)
    batch_slots = np.empty(_BATCH, np.int64)
    mask = np.uint64(len(slots) - 1)
    n = 0
    filled = 0
    done = 0
    for t in range(texts):
        at, stop = offsets[t], offsets[t + 1]
        while True:
            while at < stop and _separates(text[at]):
                at += 1
            begin = at
            if begin == stop:
                begins[filled] = _TEXT_END
            else:
                at, _, h = scan_word(text, begin, stop)
                slot = np.int64(h & mask)
                prefetch(slots, slot)
                begins[filled], ends[filled], batch_slots[filled] = begin, at, slot
            filled += 1
            if filled == _BATCH:
                n, done = _flush(
                    filled, begins, ends, batch_slots, ids, n, starts, done,
                    text, eos, policy, word_offsets, word_bytes, slots,
                )  # fmt: skip
                filled = 0
            if begin == stop:
                break
    n, done = _flush(
        filled, begins, ends, batch_slots, ids, n, starts, done,
        text, eos, policy, word_offsets, word_bytes, slots,
    )  # fmt: skip
    return ids[:n], starts


@borrowing
def _flush(
    filled: int,
    begins: Offsets,
    ends: Offsets,
    batch_slots: Offsets,
    ids: Ids,
    n: int,
    starts: Offsets,
    done: int,
    text: Bytes,
    eos: bool,
    policy: Bytes,
    word_offsets: Offsets,
    word_bytes: Bytes,
    slots: Ids,
) -> tuple[int, int]:
    """Looks up a batch; returns the numbers of ids and of texts that are done."""
    for i in range(filled):
        if begins[i] >= 0:
            batch_slots[i] = slots[batch_slots[i]]
            prefetch(word_offsets, batch_slots[i])
    for i in range(filled):
        if begins[i] >= 0 and batch_slots[i] < len(word_offsets) - 1:
            prefetch(word_bytes, word_offsets[batch_slots[i]])
    for i in range(filled):
        begin = begins[i]
        if begin < 0:
            if eos:
                ids[n] = EOS
                n += 1
            done += 1
            starts[done] = n
            continue
        word = np.uint32(batch_slots[i])
        if word != OOV and not _is_word(text, begin, ends[i], word, word_offsets, word_bytes):
            word = find_word(text, begin, ends[i], word_offsets, word_bytes, slots)
        if word < FIRST_WORD:
            action = policy[word]
            if action == DROP:
                continue
            if action == UNKNOWN:
                word = OOV
        ids[n] = word
        n += 1
    return n, done


@borrowing
def _is_word(
    text: Bytes, begin: int, end: int, word: np.uint32, word_offsets: Offsets, word_bytes: Bytes
) -> bool:
    if word >= len(word_offsets) - 1:
        return False
    start, stop = word_offsets[word], word_offsets[np.int64(word) + 1]
    if stop - start != end - begin or start < 0 or stop > len(word_bytes):
        return False
    return equal_bytes(text, begin, word_bytes, start, end - begin)


@inlined
def _separates(byte: np.uint8) -> bool:
    return bool((byte == 32) | (byte == 10) | (byte == 9) | (byte == 13))
