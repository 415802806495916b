import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.text.interner import Interner
from lmserve.text.special_tokens import EOS, SPECIAL_WORDS, SpecialTokens
from lmserve.text.tokenizer import encode, find_refused
from lmserve.text.word_table import OOV, build_slots

pieces = st.sampled_from(
    [b"a", b"bb", b"\xff", b"<unk>", b"<s>", b"</s>", b" ", b"\t", b"\r", b"\n"]
)
texts = st.lists(pieces, max_size=40).map(b"".join)


def plain_lines(text: bytes) -> list[list[bytes]]:
    """Words of each line, the slow way."""
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [
        [w for w in line.replace(b"\t", b" ").replace(b"\r", b" ").split(b" ") if w]
        for line in lines
    ]


def as_words(interner: Interner, tokens: np.ndarray) -> list[bytes]:
    offsets, data, _ = interner.words()
    return [data[offsets[token] : offsets[token + 1]].tobytes() for token in tokens]


@given(st.lists(texts, max_size=4))
def test_interning_equals_splitting(blocks: list[bytes]) -> None:
    interner = Interner(SpecialTokens.SPACE)
    counted: dict[bytes, int] = {}
    for block in blocks:
        tokens, refused_at = interner.tokenize(block)
        assert refused_at == -1
        expected = []
        for line in plain_lines(block):
            expected += [word for word in line if word not in SPECIAL_WORDS] + [b"</s>"]
        assert as_words(interner, tokens) == expected
        for word in expected:
            counted[word] = counted.get(word, 0) + 1
    _, _, counts = interner.words()
    found = dict(zip(as_words(interner, np.arange(len(interner))), counts.tolist(), strict=True))
    assert {word: count for word, count in found.items() if count} == counted


@given(texts, st.booleans(), st.sampled_from(SpecialTokens))
def test_encoding_equals_looking_words_up(text: bytes, eos: bool, mode: SpecialTokens) -> None:
    interner = Interner(SpecialTokens.SPACE)
    interner.tokenize(b"a c d")
    offsets, data, _ = interner.words()
    ids = {b"a": 3}
    if mode is SpecialTokens.KEEP_UNK:
        ids[b"<unk>"] = 0
    slots = build_slots(offsets, data, 16)
    policy = mode.policy(querying=True)
    found, lines, refused_at = encode(
        np.frombuffer(text, np.uint8), eos, policy, offsets, data, slots
    )
    assert refused_at == -1
    expected, ends = [], [0]
    for line in plain_lines(text):
        dropped = SPECIAL_WORDS if mode is SpecialTokens.SPACE else ()
        expected += [ids.get(word, int(OOV)) for word in line if word not in dropped]
        expected += [EOS] * eos
        ends.append(len(expected))
    assert found.tolist() == expected
    assert lines.tolist() == ends


@pytest.mark.parametrize(
    ("mode", "text", "refused_at"),
    [
        (SpecialTokens.ERROR, b"a <s>\n", 2),
        (SpecialTokens.ERROR, b"a\nb </s> c", 4),
        (SpecialTokens.ERROR, b"<unk>", 0),
        (SpecialTokens.ERROR, b"a <s>> <S>", -1),
        (SpecialTokens.KEEP_UNK, b"<unk> </s>", 6),
        (SpecialTokens.KEEP_UNK, b"<unk> a", -1),
        (SpecialTokens.SPACE, b"<s> <unk> </s>", -1),
    ],
)
def test_special_tokens_are_refused_where_they_stand(
    mode: SpecialTokens, text: bytes, refused_at: int
) -> None:
    assert find_refused(text, mode) == refused_at
    assert Interner(mode).tokenize(text)[1] == refused_at


def test_many_words_grow_the_tables() -> None:
    interner = Interner(SpecialTokens.ERROR)
    text = b" ".join(b"word%d" % (i % 70_000) for i in range(200_000))
    tokens, _ = interner.tokenize(text)
    assert len(interner) == 70_003
    assert as_words(interner, tokens[[0, 1, 69_999, 70_000]]) == [
        b"word0", b"word1", b"word69999", b"word0",
    ]  # fmt: skip


def test_words_that_share_a_slot_stay_apart() -> None:
    # A table filled to three quarters has long runs of occupied slots.
    words = [b"%x" % i for i in range(48)]
    data = b"".join(words)
    offsets = np.cumsum([0] + [len(word) for word in words])
    slots = build_slots(offsets, np.frombuffer(data, np.uint8), 64)
    ids, _, _ = encode(
        np.frombuffer(b" ".join(words), np.uint8),
        False,
        SpecialTokens.KEEP_UNK.policy(querying=True),
        offsets,
        np.frombuffer(data, np.uint8),
        slots,
    )
    assert ids.tolist()[3:] == list(range(3, 48))
