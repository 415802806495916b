"""Copying a model with other tables: the same words and tokens, another folder, another digest."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmserve.errors import ModelError
from lmserve.ngram.manifest import Manifest, seal
from lmserve.ngram.model import NgramModel
from lmserve.ngram.tables import partial_name
from lmserve.ngram.vocabulary import SLOTS_FILE, WORDS_FILE


def check_exact(model: NgramModel, output: Path, verb: str) -> None:
    """Refuses what no copy can be made of.

    Args:
        model: what to copy.
        output: the folder to make.
        verb: what is to be done to the model, for the error: "Quantise".

    Raises:
        ModelError: the output exists, or the model is quantised.
    """
    if output.exists():
        raise ModelError(f"{output} exists already", "Name another folder, or remove it.")
    if model.manifest.quantized_bits is not None:
        raise ModelError(
            f"{model.folder} is quantised already, to {model.manifest.quantized_bits} bits",
            f"{verb} the exact model that it was made of.",
        )


def write_copy(
    model: NgramModel, output: Path, write_tables: Callable[[Path], Mapping[str, Any]]
) -> Manifest:
    """Makes a model folder with other n-grams than `model` and all else of it.

    Args:
        model: what to copy.
        output: the folder to make; it appears when it is complete.
        write_tables: writes all tables but the vocabulary's into the folder that it is given, and
            returns what changes in the manifest.

    Returns:
        The manifest of the copy.
    """
    folder = partial_name(output)
    folder.mkdir(parents=True)
    try:
        changes = write_tables(folder)
        for name in (WORDS_FILE, SLOTS_FILE, model.manifest.tokenization.file_name):
            if name:
                shutil.copyfile(model.folder / name, folder / name)
        manifest = seal(folder, model.manifest.model_copy(update=dict(changes)))
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest
