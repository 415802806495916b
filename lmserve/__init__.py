"""lmserve: language models that are built, evaluated and served at scale.

    import lmserve

    model = lmserve.load("model")
    model.score("the cat sat on the mat")  # log10 probability, sentence end included
    model.perplexity("the cat sat on the mat")

This package never imports Ray: a finished model is queried anywhere Python runs.
"""

import os
from importlib.metadata import version

from lmserve.errors import LmserveError
from lmserve.ngram.model import NgramModel
from lmserve.scorer import NextWord, Scorer, TextScores, WordScore, perplexity
from lmserve.text.special_tokens import SpecialTokens

__version__ = version("lmserve")
__all__ = [
    "LmserveError",
    "NextWord",
    "NgramModel",
    "Scorer",
    "SpecialTokens",
    "TextScores",
    "WordScore",
    "__version__",
    "load",
    "perplexity",
]


def load(
    path: str | os.PathLike[str],
    *,
    special_tokens: SpecialTokens | None = None,
    check: bool = False,
) -> NgramModel:
    """Opens the model in a folder.

    Args:
        path: the folder that `lmserve build` wrote.
        special_tokens: what `<unk>`, `<s>`, `</s>` in a text stand for; None means what was said
            when the model was built.
        check: read every byte of it and compare checksums first.

    Raises:
        ModelError: there is no model in this folder, or one of another format version.
        CorruptModelError: it was changed or cut short.
    """
    return NgramModel.load(path, special_tokens=special_tokens, check=check)
