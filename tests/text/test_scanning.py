import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from lmserve.text.scanning import load, scan_word
from lmserve.text.word_table import equal_bytes, hash_word

SEPARATORS = b" \t\r\n"
# The neighbours of separators, and bytes that differ from one in the highest bit alone.
nearby = st.sampled_from(bytes([8, 9, 10, 11, 12, 13, 14, 31, 32, 33, 0, 0x89, 0x8A, 0x8D, 0xA0]))
buffers = st.lists(st.integers(0, 255) | nearby, max_size=40).map(bytes)


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


@given(buffers, st.data())
def test_a_word_ends_before_the_first_separator(data: bytes, drawn: st.DataObject) -> None:
    begin = drawn.draw(st.integers(0, len(data)))
    expected = begin
    while expected < len(data) and data[expected] not in SEPARATORS:
        expected += 1
    end, first, h = scan_word(as_array(data), begin, len(data))
    assert end == expected
    assert first == int.from_bytes(data[begin:end][:8], "little")
    if end > begin:
        assert h == hash_word(as_array(data), begin, end)


@given(buffers, buffers, buffers)
def test_a_hash_depends_on_the_word_alone(before: bytes, word: bytes, after: bytes) -> None:
    text = as_array(before + word + after)
    inside = hash_word(text, len(before), len(before) + len(word))
    assert inside == hash_word(as_array(word), 0, len(word))


@given(buffers, st.integers(0, 40), st.integers(0, 40))
def test_loads_end_where_they_should(data: bytes, begin: int, length: int) -> None:
    begin = min(begin, len(data))
    end = min(begin + length, len(data))
    loaded = load(as_array(data), begin, end)
    assert loaded == int.from_bytes(data[begin:end][:8], "little")


@given(buffers, buffers)
@example(b"a" * 8, b"a" * 8 + b"b")
def test_comparing_bytes(a: bytes, b: bytes) -> None:
    length = min(len(a), len(b))
    assert equal_bytes(as_array(a), 0, as_array(b), 0, length) == (a[:length] == b[:length])


def test_hashes_are_the_same_on_every_platform() -> None:
    # The order of words in a model's tables depends on them: other values need another format.
    hashes = [int(hash_word(as_array(w), 0, len(w))) for w in (b"the", b"longer-word", b"")]
    assert hashes == [6675057733839994543, 2313501987670004052, 0]


def test_hashes_are_mixed_in_all_bits() -> None:
    hashes = np.array(
        [hash_word(as_array(b"w%d" % i), 0, len(b"w%d" % i)) for i in range(20_000)], np.uint64
    )
    assert len(np.unique(hashes)) == len(hashes)
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    # Six standard deviations of a fair coin.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(len(hashes))
    flipped = np.array(
        [hash_word(as_array(b"v%d" % i), 0, len(b"v%d" % i)) for i in range(20_000)], np.uint64
    )
    changed = ((hashes ^ flipped)[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(changed.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(len(hashes))
