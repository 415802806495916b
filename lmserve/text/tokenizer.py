"""Cutting lines of bytes into word ids, in one pass over the bytes.

Words are bytes: runs of anything but space, tab and carriage return; a line feed ends a sentence.
That is how KenLM's estimator splits text, and no encoding is assumed.
"""

import numpy as np
from numba import njit

from lmserve.kernels import borrowing
from lmserve.text.interner import Interner
from lmserve.text.scanning import scan_word
from lmserve.text.special_tokens import DROP, EOS, FIRST_WORD, STOP, UNKNOWN, SpecialTokens
from lmserve.text.word_table import OOV, Bytes, Ids, Offsets, build_slots, find_word


@borrowing
def _count_lines(text: Bytes) -> int:
    lines = 1 if len(text) > 0 and text[-1] != 10 else 0
    for byte in text:
        lines += byte == 10
    return lines


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
    lines = _count_lines(text)
    # Every second byte may be a word. Memory that is never written to takes no place.
    ids = np.empty((len(text) + 1) // 2 + lines, np.uint32)
    line_offsets = np.empty(lines + 1, np.int64)
    n = 0
    line = 0
    line_offsets[0] = 0
    i = 0
    while i < len(text):
        begin = i
        i, _, _ = scan_word(text, begin, len(text))
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
            continue
        i += 1
        if text[begin] == 10:
            if eos:
                ids[n] = EOS
                n += 1
            line += 1
            line_offsets[line] = n
    if line < lines:
        if eos:
            ids[n] = EOS
            n += 1
        line_offsets[lines] = n
    return ids[:n], line_offsets, -1


def find_refused(data: bytes, special_tokens: SpecialTokens) -> int:
    """The byte offset of the first special token that `special_tokens` refuses, or -1."""
    offsets, word_bytes, _ = Interner(special_tokens).words()
    slots = build_slots(offsets, word_bytes, 16)
    text = np.frombuffer(data, np.uint8)
    *_, refused_at = encode(text, False, special_tokens.policy(), offsets, word_bytes, slots)
    return int(refused_at)
