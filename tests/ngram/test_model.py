import json
import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import zipf_text
from hypothesis import given
from hypothesis import strategies as st

import lmserve
from lmserve import SpecialTokens
from lmserve.errors import CorruptModelError, ModelError, OptionError
from lmserve.ngram.arpa import write_arpa
from lmserve.ngram.manifest import (
    CODEBOOKS_FILE,
    NGRAMS_FILE,
    SCHEMAS,
    UNIGRAMS_FILE,
    WIDE_FILE,
    Manifest,
)
from lmserve.ngram.model import NgramModel
from lmserve.ngram.tables import open_table, write_table
from lmserve.scorer import Scorer, perplexity
from lmserve.text.word_table import hash_word


def test_it_is_a_scorer(tiny_model: NgramModel) -> None:
    assert isinstance(tiny_model, Scorer)


def test_the_interface_of_kenlm(tiny_model: NgramModel) -> None:
    sentence = "w0 w1 never-seen w2"
    words = list(tiny_model.full_scores(sentence))
    assert [word.oov for word in words] == [False, False, True, False, False]
    assert tiny_model.score(sentence) == pytest.approx(sum(word[0] for word in words), rel=1e-12)
    assert tiny_model.perplexity(sentence) == pytest.approx(10 ** -(tiny_model.score(sentence) / 5))
    assert tiny_model.score(sentence, eos=False) == pytest.approx(sum(w[0] for w in words[:-1]))
    assert tiny_model.score("w0", bos=False) != tiny_model.score("w0")
    assert tiny_model.order == 3
    assert "w0" in tiny_model
    assert "never-seen" not in tiny_model
    assert [word.word for word in words] == [*sentence.split(), "</s>"]


def test_a_batch_scores_like_its_sentences(tiny_model: NgramModel) -> None:
    texts = [*zipf_text(50, seed=5).split("\n"), "", "zzz", " w0\tw1\r", "w0\nw1"]
    batch = tiny_model.score_texts(texts)
    for i, text in enumerate(texts):
        assert batch.log10_prob[i] == tiny_model.score(text)
        words = tiny_model.score_words(text)
        assert batch.tokens[i] == len(words)
        assert batch.oov[i] == sum(word.oov for word in words)
        known = sum(word.log10_prob for word in words if not word.oov)
        assert batch.known_log10_prob[i] == pytest.approx(known, rel=1e-12)


def test_no_texts_have_no_scores(tiny_model: NgramModel) -> None:
    assert len(tiny_model.score_texts([])) == 0
    assert tiny_model.score("") == tiny_model.score_words("")[0].log10_prob
    assert tiny_model.score("", eos=False) == 0
    assert tiny_model.perplexity("") == pytest.approx(10 ** -tiny_model.score(""))


@given(st.lists(st.text(max_size=20) | st.binary(max_size=20), max_size=5))
def test_any_text_or_bytes_can_be_scored(tiny_model: NgramModel, texts: list[str | bytes]) -> None:
    scores = tiny_model.score_texts(texts)
    assert len(scores) == len(texts)
    assert all(math.isfinite(score) and score < 0 for score in scores.log10_prob)
    for text in texts:
        tiny_model.score_words(text)


def test_long_and_repetitive_sentences(tiny_model: NgramModel) -> None:
    once = tiny_model.score("w0 w0 w0 w0", eos=False) - tiny_model.score("w0 w0 w0", eos=False)
    scores = tiny_model.score_texts(["w0 " * 1_000_000])
    assert scores.tokens[0] == 1_000_001
    assert scores.log10_prob[0] == pytest.approx(once * 1e6, rel=1e-3)


def test_next_words_are_the_most_probable(tiny_model: NgramModel) -> None:
    context = "w1 w0"
    distribution = tiny_model.distribution(context)
    words = tiny_model.next_words(context, top=7)
    assert [w.log10_prob for w in words] == sorted((w.log10_prob for w in words), reverse=True)
    best = np.sort(distribution[2:])[::-1][:7]
    assert [10**w.log10_prob for w in words] == pytest.approx(best.tolist())
    assert all(w.word not in ("<s>", "<unk>") for w in words)
    everything = tiny_model.next_words(context, top=10**9)
    assert len(everything) == len(tiny_model.vocabulary) - 2
    with pytest.raises(OptionError, match="top is 0"):
        tiny_model.next_words(context, top=0)


def test_special_tokens_in_a_query(tiny_model_path: Path) -> None:
    model = lmserve.load(tiny_model_path)
    assert [word.oov for word in model.score_words("<s> w0 </s> <unk>")] == [
        True,
        False,
        True,
        True,
        False,
    ]
    dropping = lmserve.load(tiny_model_path, special_tokens=SpecialTokens.SPACE)
    assert dropping.score("<s> w0 </s> <unk>") == model.score("w0")
    assert [word.word for word in dropping.score_words("w0 <unk>")] == ["w0", "</s>"]
    keeping = lmserve.load(tiny_model_path, special_tokens=SpecialTokens.KEEP_UNK)
    # There was none in the counted text.
    assert [word.oov for word in keeping.score_words("<unk>")] == [True, False]
    assert len({model.digest, dropping.digest, keeping.digest}) == 3


@pytest.fixture
def copy(tiny_model_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_path, tmp_path / "copy"))


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a model: there is no manifest.json"):
        lmserve.load(tmp_path)


def test_a_newer_format(copy: Path) -> None:
    edit(copy, schema_version=99)
    with pytest.raises(ModelError, match="format version 99"):
        lmserve.load(copy)


def edit(model: Path, **changes: object) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize("file", sorted(SCHEMAS))
def test_a_truncated_table(copy: Path, file: str) -> None:
    data = (copy / file).read_bytes()
    (copy / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptModelError, match=f"{file} has .* bytes, its manifest says"):
        lmserve.load(copy)


@pytest.mark.parametrize(
    "changes", [{"order": 2}, {"digest": "0" * 64}, {"special_tokens": "space"}]
)
def test_a_changed_manifest(copy: Path, changes: dict[str, object]) -> None:
    edit(copy, **changes)
    with pytest.raises(CorruptModelError, match="the manifest's digest is"):
        lmserve.load(copy)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 1, "order": "five"}'])
def test_a_manifest_that_is_none(copy: Path, content: str) -> None:
    (copy / "manifest.json").write_text(content)
    with pytest.raises(ModelError):
        lmserve.load(copy)


@pytest.mark.parametrize("file", sorted(set(SCHEMAS) - {CODEBOOKS_FILE, WIDE_FILE}))
def test_a_changed_byte_is_found_when_asked(copy: Path, file: str) -> None:
    columns = open_table(copy / file, SCHEMAS[file])
    name = next(iter(columns))
    values = columns[name].to_pylist()
    other = next(i for i, value in enumerate(values) if value != values[0])
    values[0], values[other] = values[other], values[0]
    write_table(copy / file, {**columns, name: pa.array(values, SCHEMAS[file][name])})
    with pytest.raises(CorruptModelError, match=f"{file}, column '{name}': its SHA-256 is"):
        lmserve.load(copy, check=True)


def test_a_damaged_table_of_words_stays_inside(copy: Path) -> None:
    rng = np.random.default_rng(1)
    texts = zipf_text(200, words=300).split("\n")
    for _ in range(20):
        model = lmserve.load(copy)
        slots = model.vocabulary.slots.copy()
        damaged = (slots != 0xFFFFFFFF) & (rng.random(len(slots)) < 0.1)
        slots[damaged] = rng.choice(np.array([0, 1, 7, 10**6, 2**32 - 2], np.uint32), damaged.sum())
        model.vocabulary.slots = slots
        scores = model.score_texts(texts)
        assert len(scores) == len(texts)
        # Most words are still found, so the damaged tables are read.
        assert scores.oov.sum() < 0.5 * scores.tokens.sum()


def test_damage_that_an_export_would_meet_is_named(copy: Path) -> None:
    model = lmserve.load(copy)
    model.tables = model.tables._replace(first_child=model.tables.first_child[::-1].copy())
    with pytest.raises(CorruptModelError, match="1-grams point outside"):
        write_arpa(model, copy / "out.arpa")
    model = lmserve.load(copy)
    model.tables = model.tables._replace(bits=~model.tables.bits)
    with pytest.raises(CorruptModelError, match="2-grams point outside"):
        write_arpa(model, copy / "out.arpa")
    assert not (copy / "out.arpa").exists()
    model.vocabulary.offsets = model.vocabulary.offsets[::-1].copy()
    with pytest.raises(CorruptModelError, match="the vocabulary is damaged"):
        model.vocabulary.words()


def test_columns_in_another_order(copy: Path) -> None:
    columns = open_table(copy / UNIGRAMS_FILE, SCHEMAS[UNIGRAMS_FILE])
    order = ("log10_backoff", "log10_prob", "first_child")
    write_table(copy / UNIGRAMS_FILE, {name: columns[name] for name in order})
    with pytest.raises(CorruptModelError, match="expected 1 of"):
        open_table(copy / UNIGRAMS_FILE, SCHEMAS[UNIGRAMS_FILE])


def test_tables_of_another_length(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["levels"][0]["position_bits"] += 1
    changed = Manifest.model_validate(manifest)
    changed.model_copy(update={"digest": changed.compute_digest()}).write(copy)
    with pytest.raises(CorruptModelError, match="bit words, blocks and codes are there"):
        lmserve.load(copy)


def test_words_are_in_the_order_of_their_hashes(tiny_model: NgramModel) -> None:
    words = list(tiny_model.vocabulary)
    assert words[:3] == [b"<unk>", b"<s>", b"</s>"]
    hashes = [int(hash_word(np.frombuffer(word, np.uint8), 0, len(word))) for word in words[3:]]
    assert hashes == sorted(hashes)
    assert all(tiny_model.vocabulary.find(word) == i for i, word in enumerate(words))


def test_a_folder_of_other_tables(copy: Path) -> None:
    size = (copy / NGRAMS_FILE).stat().st_size
    (copy / NGRAMS_FILE).write_bytes(b"x" * size)
    with pytest.raises(CorruptModelError, match="is missing or damaged"):
        lmserve.load(copy)


def test_perplexity() -> None:
    assert perplexity(-6.0, 3) == pytest.approx(100)
    assert perplexity(-math.inf, 3) == math.inf
    assert perplexity(-1e9, 1) == math.inf
    assert perplexity(0.0, 0) == 1
