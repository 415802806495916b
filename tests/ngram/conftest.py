"""Models without a builder: the reference's, imported."""

from pathlib import Path

import pytest
from arpa_text import write_reference_arpa
from corpora import zipf_text
from reference import ReferenceModel, modified_kneser_ney

import lmserve
from lmserve.ngram.importing import import_arpa


@pytest.fixture(scope="session")
def reference() -> ReferenceModel:
    """Order 3, of 600 sentences over some hundred words."""
    sentences = [line.split() for line in zipf_text(600).encode().splitlines()]
    return modified_kneser_ney(sentences, 3)


@pytest.fixture(scope="session")
def tiny_model_path(reference: ReferenceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `reference`, imported."""
    folder = tmp_path_factory.mktemp("imported")
    write_reference_arpa(reference, folder / "tiny.arpa")
    import_arpa(folder / "tiny.arpa", folder / "tiny")
    return folder / "tiny"


@pytest.fixture(scope="session")
def tiny_model(tiny_model_path: Path) -> lmserve.NgramModel:
    """`tiny_model_path`, opened."""
    return lmserve.load(tiny_model_path)
