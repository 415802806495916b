"""The hash index: the same scores to the bit as from the tables, and what can be wrong with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from arpa_text import write_reference_arpa
from buckets_reference import look_up
from corpora import zipf_text
from hypothesis import given
from hypothesis import strategies as st
from programs import output, run
from reference import modified_kneser_ney

import lmserve
from lmserve.errors import CorruptModelError, ModelError
from lmserve.ngram import buckets as layout
from lmserve.ngram import indexing
from lmserve.ngram.buckets import BUCKET_WORDS, SEGMENT, fill, next_bucket
from lmserve.ngram.hash_index import INDEX_FACTS_FILE, INDEX_FILE, INDEX_FILES, bucket_count
from lmserve.ngram.hashes import RADIX, hash_children, hash_words, radix_powers, scattered
from lmserve.ngram.importing import import_arpa
from lmserve.ngram.indexing import index_model
from lmserve.ngram.model import NgramModel
from lmserve.ngram.probing import probe_lines
from lmserve.ngram.quantizing import quantize
from lmserve.ngram.query import score_lines

WRAPS = 1 << 64


@pytest.fixture
def indexed(tiny_model_path: Path, tmp_path: Path) -> NgramModel:
    """A copy of the tiny model, with an index."""
    shutil.copytree(tiny_model_path, tmp_path / "model")
    index_model(NgramModel.load(tmp_path / "model"))
    return NgramModel.load(tmp_path / "model", check=True)


def check_same(model: NgramModel, text: bytes, windows: tuple[int, ...] = (256,)) -> None:
    """Compares all words' scores and lengths by the index with those by the tables."""
    assert model.index is not None
    for eos in (True, False):
        ids, lines = model.encode(text, eos=eos)
        for bos in (True, False):
            scores, lengths = score_lines(ids, lines, bos, model.tables, 64)
            for window in windows:
                found, found_lengths = probe_lines(ids, lines, bos, model.index, window)
                np.testing.assert_array_equal(found.view(np.int64), scores.view(np.int64))
                np.testing.assert_array_equal(found_lengths, lengths)


words = st.sampled_from([b"a", b"b", b"c", b"d"])
lines_of_words = st.lists(st.lists(words, max_size=9), min_size=1, max_size=12).filter(any)


@given(lines_of_words, st.integers(2, 7), st.lists(st.lists(words | st.just(b"zz"), max_size=12)))
def test_any_small_model_scores_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    text: list[list[bytes]],
    order: int,
    sentences: list[list[bytes]],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    reference = modified_kneser_ney(text, order, discount_fallback=(0.5, 1.0, 1.5))
    write_reference_arpa(reference, folder / "arpa")
    import_arpa(folder / "arpa", folder / "model")
    index_model(NgramModel.load(folder / "model"))
    model = NgramModel.load(folder / "model", check=True)
    lines = [b" ".join(line) for line in (*text, *sentences, [])]
    check_same(model, b"\n".join(lines) + b"\n", (1, 2, 5, 256))


@pytest.mark.parametrize("bits", [None, 4])
def test_windows_do_not_matter(tiny_model: NgramModel, tmp_path: Path, bits: int | None) -> None:
    if bits:
        quantize(tiny_model, tmp_path / "model", bits)
    else:
        shutil.copytree(tiny_model.folder, tmp_path / "model")
    index_model(NgramModel.load(tmp_path / "model"))
    model = NgramModel.load(tmp_path / "model")
    text = zipf_text(600) + "\n\n<s> w0 </s> <unk> w0\n" + zipf_text(600, seed=7)
    check_same(model, text.encode(), (1, 2, 3, 17, 64, 256, 5000))


def test_texts_are_scored_by_the_index(indexed: NgramModel, tiny_model: NgramModel) -> None:
    assert tiny_model.index is None
    assert NgramModel.load(indexed.folder, indexed=False).index is None
    assert indexed.digest == tiny_model.digest
    texts = zipf_text(300, seed=8).split("\n")
    found, expected = indexed.score_texts(texts), tiny_model.score_texts(texts)
    np.testing.assert_array_equal(found.log10_prob, expected.log10_prob)
    assert indexed.score_words(texts[0]) == tiny_model.score_words(texts[0])


def test_hashes_follow_from_each_other() -> None:
    ids = [5, 0, 3, 3, 1 << 31, 2]
    seed = np.uint64(12345)
    by_word = {word: int(hash_words(word + 1, seed)[word]) for word in {5, 0, 3, 2}}
    by_word[1 << 31] = int(
        hash_children(
            np.zeros(1, np.uint64), np.array([0, 1]), np.array([1 << 31], np.uint32), seed
        )[0]
    )

    def plain(ngram: list[int]) -> int:
        total = 0
        for word in ngram:
            total = (total * int(RADIX) + by_word[word]) % WRAPS
        return total

    powers = radix_powers(6)
    for begin in range(6):
        for end in range(begin + 1, 7):
            expected = plain(ids[begin:end])
            parts = plain(ids[:end]) - plain(ids[:begin]) * int(powers[end - begin])
            assert parts % WRAPS == expected
            child = hash_children(
                np.array([plain(ids[begin : end - 1])], np.uint64),
                np.array([0, 1]),
                np.array(ids[end - 1 : end], np.uint32),
                seed,
            )
            assert int(child[0]) == expected
    assert len({int(h) for h in hash_words(10000, seed)}) == 10000


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_full_buckets_hand_on_what_they_have_no_room_for(last: bool, share: float) -> None:
    rng = np.random.default_rng(3)
    buckets, entries = 50, layout.LAST_ENTRIES if last else layout.LOWER_ENTRIES
    count = int(buckets * entries * share)
    hashes = rng.integers(0, 1 << 64, count, np.uint64)
    # Of a few, tag or lower bits are 0, as those of a place that is empty.
    hashes[:5] &= np.uint64(0xFFFF0000FFFFFFFF)
    hashes[5:10] &= np.uint64(0xFFFFFFFF00000000)
    probs, backoffs = (rng.integers(0, 1 << 32, count, np.uint64) for _ in range(2))
    lefts = rng.integers(0, 256, count, np.uint8)
    slots = np.zeros(buckets * BUCKET_WORDS, np.uint64)
    values = backoffs << np.uint64(32) | probs
    assert fill(hashes, values, lefts, last, buckets, 0, slots)
    places = [look_up(slots, h, buckets, last) for h in hashes]
    assert len(set(places)) == count
    for place, prob, backoff, left in zip(places, probs, backoffs, lefts, strict=True):
        assert int(slots[place]) & 0xFFFFFFFF == prob
        if not last:
            at, entry = divmod(place, BUCKET_WORDS)
            word = int(slots[at * BUCKET_WORDS + 4 + entry // 2])
            assert word >> 32 * (entry % 2) & 0xFFFFFFFF == backoff
            assert int(slots[at * BUCKET_WORDS + 7]) >> 8 * entry & 0xFF == left
    if share < 1:
        others = rng.integers(0, 1 << 64, 300, np.uint64)
        assert all(look_up(slots, h, buckets, last) == -1 for h in others)


def test_segments_are_filled_by_themselves() -> None:
    assert bucket_count(1, last=True) == 1
    assert bucket_count(10**6, last=False) % SEGMENT == 0
    total = np.uint64(3 * SEGMENT)
    assert next_bucket(np.uint64(7), total) == 8
    assert next_bucket(np.uint64(2 * SEGMENT - 1), total) == SEGMENT
    assert next_bucket(np.uint64(49), np.uint64(50)) == 0


def test_equal_hashes_take_another_seed(
    indexed: NgramModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = scattered(np.uint64(77))
    twice = np.array([same, same], np.uint64)
    values, slots = np.zeros(2, np.uint64), np.zeros(BUCKET_WORDS, np.uint64)
    assert not fill(twice, values, np.zeros(2, np.uint8), True, 1, 0, slots)
    seeds = []

    def hash_words_that_meet(words: int, seed: np.uint64) -> npt.NDArray[np.uint64]:
        seeds.append(int(seed))
        return hash_words(words, seed) if len(seeds) > 2 else np.zeros(words, np.uint64)

    monkeypatch.setattr(indexing, "hash_words", hash_words_that_meet)
    index_model(indexed)
    assert seeds == [0, 1, 2]
    assert json.loads((indexed.folder / INDEX_FACTS_FILE).read_text())["seed"] == 2
    check_same(NgramModel.load(indexed.folder, check=True), zipf_text(100).encode())
    monkeypatch.setattr(indexing, "hash_words", lambda words, _: np.zeros(words, np.uint64))
    with pytest.raises(ModelError, match="equal hashes by 8 seeds"):
        index_model(indexed)
    names = {path.name for path in indexed.folder.iterdir()}
    assert not any("partial" in name for name in names)
    assert NgramModel.load(indexed.folder, check=True).index, "the index before is still there"


def test_a_damaged_index_is_refused(indexed: NgramModel, other_model_path: Path) -> None:
    folder = indexed.folder
    slots = (folder / INDEX_FILE).read_bytes()
    changed = slots[:-1] + bytes([slots[-1] ^ 1])
    (folder / INDEX_FILE).write_bytes(changed)
    assert NgramModel.load(folder).index
    with pytest.raises(CorruptModelError, match="not what was written"):
        NgramModel.load(folder, check=True)
    for wrong in (slots[:-8], slots[: len(slots) // 2], b"", b"PK\3\4 no array"):
        (folder / INDEX_FILE).write_bytes(wrong)
        with pytest.raises(CorruptModelError, match="lmserve index"):
            NgramModel.load(folder)
        assert NgramModel.load(folder, indexed=False).index is None
    np.save(folder / INDEX_FILE, np.zeros(100, np.float32))
    with pytest.raises(CorruptModelError, match=r"holds float32 \[100\]"):
        NgramModel.load(folder)
    np.save(folder / INDEX_FILE, np.array([{}], object))
    with pytest.raises(CorruptModelError, match="damaged"):
        NgramModel.load(folder)
    (folder / INDEX_FILE).write_bytes(slots.replace(b"), }", b"),  ", 1))
    with pytest.raises(CorruptModelError, match="damaged"):
        NgramModel.load(folder)
    facts = (folder / INDEX_FACTS_FILE).read_text()
    (folder / INDEX_FACTS_FILE).write_text(
        facts.replace('"schema_version": 2', '"schema_version": 1')
    )
    with pytest.raises(CorruptModelError, match="schema_version is 1: Input should be 2"):
        NgramModel.load(folder)
    (folder / INDEX_FACTS_FILE).write_text("{}")
    with pytest.raises(CorruptModelError, match="no index of this version"):
        NgramModel.load(folder)
    (folder / INDEX_FILE).write_bytes(slots)
    index_model(NgramModel.load(folder, indexed=False))
    for name in INDEX_FILES:
        shutil.copy(folder / name, other_model_path)
    with pytest.raises(CorruptModelError, match="another model"):
        NgramModel.load(other_model_path)
    for name in INDEX_FILES:
        (other_model_path / name).unlink()


def test_scoring_ends_whatever_the_buckets_hold(indexed: NgramModel) -> None:
    ids, lines = indexed.encode(zipf_text(200).encode(), eos=True)
    assert indexed.index is not None
    rng = np.random.default_rng(5)
    random = rng.integers(0, 1 << 64, len(indexed.index.slots), np.uint64)
    for slots in (random, np.full_like(random, WRAPS - 1), np.zeros_like(random)):
        scores, lengths = probe_lines(ids, lines, True, indexed.index._replace(slots=slots), 64)
        assert len(scores) == len(ids)
        assert lengths.max() <= indexed.order


def test_room_is_looked_for_first(indexed: NgramModel, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (indexed.folder / INDEX_FILE).stat().st_ino
    nothing_free = shutil.disk_usage(indexed.folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nothing_free)
    with pytest.raises(ModelError, match="its disk has 0 MB free"):
        index_model(indexed)
    assert (indexed.folder / INDEX_FILE).stat().st_ino == before


def test_progress_tells_of_all_ngrams(indexed: NgramModel) -> None:
    told: list[int] = []
    index_model(indexed, told.append)
    assert sum(told) == sum(indexed.manifest.ngrams[1:])


def test_only_orders_from_two_on_have_an_index(tmp_path: Path) -> None:
    reference = modified_kneser_ney([[b"a", b"b", b"a"]], 1, discount_fallback=(0.5, 1.0, 1.5))
    write_reference_arpa(reference, tmp_path / "arpa")
    import_arpa(tmp_path / "arpa", tmp_path / "model")
    with pytest.raises(ModelError, match="order 1"):
        index_model(lmserve.NgramModel.load(tmp_path / "model"))


def test_the_command_adds_an_index(tiny_model_path: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_path, tmp_path / "model")
    assert "none: lmserve index adds one" in output("info", tmp_path / "model")
    said = output("index", tmp_path / "model")
    size = (tmp_path / "model" / INDEX_FILE).stat().st_size
    assert f"{size:,} bytes of index" in said
    assert "texts are scored faster" in output("info", "--verify", tmp_path / "model")
    lines = zipf_text(50, seed=3).encode()
    assert output("score", tmp_path / "model", stdin=lines) == output(
        "score", tiny_model_path, stdin=lines
    )
    failed = run("index", "s3://bucket/model")
    assert failed.returncode == 2
    assert "written into a folder" in failed.stderr
