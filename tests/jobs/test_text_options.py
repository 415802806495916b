"""The command line's options for text that is not lines of words."""

import json
from pathlib import Path

import pytest
from corpora import zipf_text
from programs import output, run
from tokenizers_made import train_sentencepiece

import lmserve


def test_documents_are_tokenised_as_asked_for(tmp_path: Path) -> None:
    tokenizer = train_sentencepiece(tmp_path)
    texts = zipf_text(300).upper().splitlines()
    text = tmp_path / "texts.jsonl"
    text.write_text("".join(json.dumps({"body": line}) + "\n" for line in texts))
    model = tmp_path / "model"
    output(
        *("build", text, "--output", model, "--order", 3, "--workers", 1, "--discount-fallback"),
        *("--tokenizer", tokenizer, "--normalize", "nfkc,lower", "--text-column", "body"),
    )
    tokenizer.unlink()
    facts = json.loads(output("eval", model, text, "--text-column", "body", "--json"))
    assert (facts["sentences"], facts["oov"]) == (len(texts), 0)
    answers = output("score", model, text, "--text-column", "body").splitlines()
    total = sum(json.loads(answer)["log10_prob"] for answer in answers)
    assert total == pytest.approx(facts["log10_prob"])
    loaded = lmserve.load(model)
    record = json.loads(output("score", model, stdin=texts[0].lower().encode()))
    assert record["log10_prob"] == pytest.approx(loaded.score(texts[0]))
    assert "tokens                 nfkc, then lower, then sentencepiece" in output("info", model)
    result = run("eval", model, text)
    assert result.returncode == 1
    assert "texts.jsonl, line 1: no field 'text'; its fields are 'body'" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tokenizer", "no.json"], "there is no such file"),
        (["--normalize", "upper"], "normalize is 'upper'"),
    ],
)
def test_tokenizers_that_cannot_be(tmp_path: Path, options: list[str], message: str) -> None:
    result = run("build", "x.txt", "--output", tmp_path / "m", *options)
    assert (result.returncode, message in " ".join(result.stderr.split())) == (2, True)
