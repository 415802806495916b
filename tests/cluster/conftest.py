"""Fixtures of the tests that build."""

from pathlib import Path

import pytest
from corpora import zipf_text

from cluster.build import build
from cluster.config import BuildConfig


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 MB, so 4 pieces."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text(zipf_text(60_000, length=30, words=40_000))
    return path


@pytest.fixture(scope="session")
def expected(text: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model, built without Ray."""
    output = tmp_path_factory.mktemp("expected") / "model"
    return build(BuildConfig(inputs=(str(text),), output=output, order=4), on_ray=False).digest
