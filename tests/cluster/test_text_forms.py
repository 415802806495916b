"""Builds of text in every form: what is counted is what is scored."""

import json
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import zipf_text
from tokenizers_made import train_bpe, train_sentencepiece

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.errors import BuildError, CorruptModelError, InputError, OptionError
from lmserve.evaluation import evaluate
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.text.sources import find_files, split
from lmserve.text.tokenization import Tokenization

TEXT = zipf_text(300) + "The Caf\u00e9 is w1 \ufb01ne .\n" * 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    train_sentencepiece(folder)
    train_bpe(folder)
    (folder / "text.txt").write_text(TEXT)
    return folder


def settings(text: Path | str, output: Path, tokenizer: str, normalization: str) -> BuildConfig:
    chosen = Tokenization.choose(tokenizer, normalization)
    return BuildConfig(
        inputs=(str(text),),
        output=output,
        order=3,
        options=SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS),
        tokenization=chosen,
        tokenizer_file=Path(tokenizer) if chosen.file_name else None,
    )


@pytest.mark.parametrize(
    ("tokenizer", "normalization"),
    [
        ("whitespace", "nfkc,lower"),
        ("characters", "none"),
        ("{folder}/pieces.model", "lower"),
        ("{folder}/tokenizer-of-ours.json", "nfkc"),
    ],
)
def test_a_model_scores_text_as_it_was_counted(
    folder: Path, tmp_path: Path, tokenizer: str, normalization: str
) -> None:
    tokenizer = tokenizer.format(folder=folder)
    config = settings(folder / "text.txt", tmp_path / "model", tokenizer, normalization)
    manifest = build(config, on_ray=False)
    # The model is whole in its folder: it may be moved away from its tokenizer.
    moved = config.output.rename(tmp_path / "moved")
    model = lmserve.load(moved, check=True)
    lines = TEXT.splitlines()
    tokens = [model.segment(line.encode()).split() for line in lines]
    assert manifest.sentences == len(lines)
    assert manifest.words == sum(map(len, tokens))

    # The same n-grams as of a text that was cut beforehand.
    cut = tmp_path / "cut.txt"
    cut.write_bytes(b"".join(b" ".join(line) + b"\n" for line in tokens))
    words = build(settings(cut, tmp_path / "cut", "whitespace", "none"), on_ray=False)
    assert words.ngrams == manifest.ngrams
    assert words.digest != manifest.digest
    plain = lmserve.load(tmp_path / "cut")
    scores = model.score_texts(lines)
    expected = plain.score_texts([b" ".join(line) for line in tokens])
    np.testing.assert_array_equal(scores.log10_prob, expected.log10_prob)
    assert scores.oov.sum() == 0

    line = lines[-1]
    by_word = model.score_words(line)
    assert [word.word.encode() for word in by_word] == [*tokens[-1], b"</s>"]
    assert sum(word.log10_prob for word in by_word) == pytest.approx(scores.log10_prob[-1])
    assert model.next_words(line[:8]) == plain.next_words(model.segment(line[:8].encode()))

    pieces = split(find_files([str(folder / "text.txt")]), 1000)
    result = evaluate(model, pieces, model.special_tokens, segment=model.segment)
    assert result.log10_prob == pytest.approx(scores.log10_prob.sum())
    assert result.sentences == len(lines)


def test_every_form_of_a_text_gives_the_same_model(folder: Path, tmp_path: Path) -> None:
    documents = TEXT.splitlines(keepends=True)
    # Some documents of several lines, some that do not end theirs.
    texts = ["".join(documents[:7]), *(line.rstrip("\n") for line in documents[7:])]
    records = [{"id": i, "text": text} for i, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet", row_group_size=40)
    fsspec.filesystem("memory").pipe("/forms/text.txt", TEXT.encode())
    inputs = [
        folder / "text.txt",
        tmp_path / "a.jsonl",
        tmp_path / "a.parquet",
        (folder / "text.txt").as_uri(),
        "memory://forms/*.txt",
    ]
    digests = {
        build(settings(text, tmp_path / f"model-{i}", "whitespace", "none"), on_ray=False).digest
        for i, text in enumerate(inputs)
    }
    assert len(digests) == 1


@pytest.mark.usefixtures("ray_session")
def test_workers_read_rows_and_tokenizers(folder: Path, tmp_path: Path) -> None:
    documents = tmp_path / "a.parquet"
    texts = TEXT.splitlines() * 100
    pq.write_table(pa.table({"body": texts}), documents, row_group_size=1000, compression="none")
    tokenizer = str(folder / "pieces.model")
    config = replace(
        settings(documents, tmp_path / "model", tokenizer, "lower"), text_column="body", workers=2
    )
    (tmp_path / "a.txt").write_text(TEXT * 100)
    plain = settings(tmp_path / "a.txt", tmp_path / "plain", tokenizer, "lower")
    assert build(config).digest == build(plain, on_ray=False).digest


def test_a_build_goes_on_with_its_tokenizer_only(folder: Path, tmp_path: Path) -> None:
    config = settings(folder / "text.txt", tmp_path / "model", "characters", "none")
    failing = replace(config, options=SmoothingOptions())
    with pytest.raises(BuildError):
        build(failing, on_ray=False)
    changed = replace(config, resume=True, tokenization=Tokenization.choose("characters", "lower"))
    with pytest.raises(BuildError, match="had tokenization = "):
        build(changed, on_ray=False)
    assert build(replace(config, resume=True), on_ray=False).sentences == len(TEXT.splitlines())


def test_marks_are_refused_by_file_and_line(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "marked.txt"
    text.write_text("a b\n" * 6 + "a <s> b\n")
    tokenizer = str(folder / "tokenizer-of-ours.json")
    for name, message in (("whitespace", "the text holds <s>"), (tokenizer, "the text holds <s>")):
        with pytest.raises(InputError, match=rf"marked\.txt, line 7: {message}"):
            build(settings(text, tmp_path / "model", name, "none"), on_ray=False)
    # As characters, they are no marks.
    build(settings(text, tmp_path / "model", "characters", "none"), on_ray=False)


def test_a_model_without_its_tokenizer_is_not_opened(folder: Path, tmp_path: Path) -> None:
    tokenizer = str(folder / "pieces.model")
    build(settings(folder / "text.txt", tmp_path / "model", tokenizer, "none"), on_ray=False)
    kept = tmp_path / "model" / "tokenizer.model"
    assert kept.read_bytes() == Path(tokenizer).read_bytes()
    kept.unlink()
    with pytest.raises(CorruptModelError, match=r"tokenizer\.model, the model's tokenizer"):
        lmserve.load(tmp_path / "model")


def test_a_tokenizer_and_its_file_come_together(folder: Path, tmp_path: Path) -> None:
    config = settings(folder / "text.txt", tmp_path / "model", "characters", "none")
    with pytest.raises(OptionError, match="the tokenizer is characters and its file"):
        replace(config, tokenizer_file=folder / "pieces.model")
