"""Texts cut into word ids together, beside each cut by itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmserve.text.batching import encode_texts
from lmserve.text.special_tokens import SPECIAL_WORDS, SpecialTokens
from lmserve.text.word_table import OOV, build_slots

WORDS = [*SPECIAL_WORDS, b"a", b"ab", b"eight-ch", b"longer-than-eight", b"\0", b"a\0", b"\xff"]
OFFSETS = np.cumsum([0, *map(len, WORDS)])
BYTES = np.frombuffer(b"".join(WORDS), np.uint8)
SLOTS = build_slots(OFFSETS, BYTES, 32)

parts = st.sampled_from([*WORDS[3:], b" ", b"\t", b"\n", b"\r", b"b", b"other-word"])


@given(st.lists(st.lists(parts, max_size=12).map(b"".join), max_size=20), st.booleans())
def test_texts_without_anything_between_them_are_cut_apart(texts: list[bytes], eos: bool) -> None:
    text = np.frombuffer(b"".join(texts), np.uint8)
    offsets = np.cumsum([0, *map(len, texts)])
    policy = SpecialTokens.ERROR.policy(querying=True)
    ids, starts = encode_texts(text, offsets, eos, policy, OFFSETS, BYTES, SLOTS)
    ids_of = {word: number for number, word in enumerate(WORDS) if number > 2}
    for number, one in enumerate(texts):
        words = one.translate(bytes.maketrans(b"\t\n\r", b"   ")).split(b" ")
        expected = [ids_of.get(word, int(OOV)) for word in words if word] + [2] * eos
        assert ids[starts[number] : starts[number + 1]].tolist() == expected
