from pathlib import Path

import numpy as np
import pytest

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.ngram.arpa import ngrams_of_order, write_arpa
from lmserve.ngram.model import NgramModel
from lmserve.ngram.smoothing import Smoothing


def read_arpa(path: Path) -> tuple[list[int], list[dict[str, tuple[float, float | None]]]]:
    """The header's counts, and of each order: n-gram -> log10 probability, log10 backoff."""
    counts: list[int] = []
    orders: list[dict[str, tuple[float, float | None]]] = []
    lines = path.read_text().split("\n")
    assert lines[0] == "\\data\\"
    assert lines[-3:] == ["", "\\end\\", ""]
    for line in lines[1:-2]:
        if line.startswith("ngram "):
            counts.append(int(line.partition("=")[2]))
        elif line.startswith("\\"):
            orders.append({})
            assert line == f"\\{len(orders)}-grams:"
        elif line:
            prob, ngram, *backoff = line.split("\t")
            orders[-1][ngram] = float(prob), float(backoff[0]) if backoff else None
    return counts, orders


def test_all_ngrams_are_written_exactly(tiny_model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "tiny.arpa"
    progress: list[int] = []
    write_arpa(tiny_model, path, progress.append)
    counts, orders = read_arpa(path)
    assert counts == [len(order) for order in orders] == tiny_model.manifest.ngrams
    assert sum(progress) == sum(counts)
    assert orders[0]["<s>"][0] == -99
    for k, order in enumerate(orders, 1):
        for ids, log10_probs, log10_backoffs in ngrams_of_order(tiny_model, k, chunk_rows=1000):
            for row, prob, backoff in zip(ids, log10_probs, log10_backoffs, strict=True):
                ngram = " ".join(tiny_model.vocabulary[word].decode() for word in row)
                if ngram != "<s>":
                    assert order[ngram][0] == prob
                assert order[ngram][1] == (None if np.isnan(backoff) else backoff)


def test_the_file_alone_gives_the_same_scores(tiny_model: NgramModel, tmp_path: Path) -> None:
    """Scores by the definition of ARPA models: the longest n-gram, else back off."""
    path = tmp_path / "tiny.arpa"
    write_arpa(tiny_model, path)
    _, orders = read_arpa(path)

    def log10_prob(words: list[str]) -> float:
        found = orders[len(words) - 1].get(" ".join(words))
        if found:
            return found[0]
        context = orders[len(words) - 2].get(" ".join(words[:-1]))
        return log10_prob(words[1:]) + ((context and context[1]) or 0.0)

    for sentence in ("w0 w1 w5 w0", "w3 w3", "w0 zzz w1"):
        words = ["<s>", *sentence.split(), "</s>"]
        known = [word if word in orders[0] else "<unk>" for word in words]
        total = sum(log10_prob(known[max(0, i - 2) : i + 1]) for i in range(1, len(known)))
        assert tiny_model.score(sentence) == pytest.approx(total, rel=1e-12)


def test_probability_0_is_minus_99(tiny_text: Path, tmp_path: Path) -> None:
    config = BuildConfig(
        inputs=(str(tiny_text),),
        output=tmp_path / "model",
        order=2,
        smoothing=Smoothing.MAXIMUM_LIKELIHOOD,
    )
    build(config, on_ray=False)
    write_arpa(lmserve.load(config.output), tmp_path / "ml.arpa")
    assert "inf" not in (tmp_path / "ml.arpa").read_text()
    _, orders = read_arpa(tmp_path / "ml.arpa")
    assert orders[0]["<unk>"][0] == -99
    assert orders[0]["w0"][1] == -99
