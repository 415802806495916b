"""`lmserve prune` and `lmserve quantize`: smaller copies of a model, and what they cost."""

import json
import re
from pathlib import Path

from programs import output, run
from tokenizers_made import TEXT, train_sentencepiece

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.text.tokenization import Tokenization


def test_prune_says_what_it_saves_and_costs(
    tiny_model_path: Path, tiny_text: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "pruned"
    arguments = (tiny_model_path, "--entropy", "1e-5", "--output", copy, "--text", tiny_text)
    result = run("prune", *arguments)
    assert result.returncode == 0, result.stderr
    assert "warning: the lower orders of modified-kneser-ney are no frequencies" in result.stderr
    before, after = lmserve.load(tiny_model_path).manifest, lmserve.load(copy, check=True).manifest
    for k in (1, 2, 3):
        counts = f"{k}-grams *│ *{before.ngrams[k - 1]:,} *│ *{after.ngrams[k - 1]:,} "
        assert re.search(counts, result.stdout), result.stdout
    perplexities = [
        json.loads(output("eval", model, tiny_text, "--json"))["perplexity"]
        for model in (tiny_model_path, copy)
    ]
    assert perplexities[0] < perplexities[1]
    for value in perplexities:
        assert f"{value:,.3f}" in result.stdout
    assert re.search(r"left out below +1e-05\n", output("info", copy))
    refused = run("prune", tiny_model_path, "--entropy", "0", "--output", tmp_path / "no")
    assert refused.returncode == 2
    assert "which leaves out nothing" in refused.stderr


def test_copies_keep_the_tokenizer(tmp_path: Path) -> None:
    text, model = tmp_path / "text", tmp_path / "model"
    text.write_text(TEXT)
    tokenizer = train_sentencepiece(tmp_path)
    config = BuildConfig(
        inputs=(str(text),),
        output=model,
        order=2,
        smoothing=Smoothing.WITTEN_BELL,
        tokenization=Tokenization.choose(str(tokenizer)),
        tokenizer_file=tokenizer,
    )
    build(config, on_ray=False)
    pruned = run("prune", model, "--entropy", "1e-6", "--output", tmp_path / "pruned")
    assert (pruned.returncode, pruned.stderr) == (0, "")
    output("quantize", model, "--output", tmp_path / "small", "--text", text)
    for copy in ("pruned", "small"):
        tokens = lmserve.load(tmp_path / copy).score_texts(["The café is closed."]).tokens
        assert tokens == lmserve.load(model).score_texts(["The café is closed."]).tokens
