"""What tests of estimation share: models of a text, and their comparison with the reference."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_ngrams import model_ngrams
from reference import ReferenceModel

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.ngram.model import NgramModel

# What rounding a logarithm to 32 bits may change; the rest is computed in 64.
TOLERANCE_LOG10 = {"rel": 1e-7, "abs": 1e-9}


def estimate(text: bytes, order: int, **settings: Any) -> NgramModel:
    """Builds a model of a text in this process, and loads it before its folder goes away."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(text)
        config = BuildConfig(inputs=(str(path),), output=Path(folder) / "model", order=order)
        build(replace(config, **settings), on_ray=False)
        return lmserve.load(config.output, check=True)


def sentences(text: bytes) -> list[list[bytes]]:
    return [line.split() for line in text.removesuffix(b"\n").split(b"\n")]


def join(text: list[list[bytes]]) -> bytes:
    return b"\n".join(b" ".join(line) for line in text) + b"\n"


def assert_same(model: NgramModel, reference: ReferenceModel) -> None:
    """Every n-gram, probability and backoff weight of both is the same."""
    expected = reference.log10_ngrams()
    found = model_ngrams(model)
    assert found.keys() == expected.keys()
    for ngram, (log10_prob, log10_backoff) in expected.items():
        assert found[ngram][0] == pytest.approx(log10_prob, **TOLERANCE_LOG10), ngram
        if log10_backoff is None:
            assert found[ngram][1] is None
        else:
            assert found[ngram][1] == pytest.approx(log10_backoff, **TOLERANCE_LOG10), ngram
