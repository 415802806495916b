"""lmserve: language models that are built, evaluated and served at scale.

    import lmserve

    model = lmserve.load("model")
    model.score("the cat sat on the mat")  # log10 probability, sentence end included
    model.perplexity("the cat sat on the mat")

This package never imports Ray: a finished model is queried anywhere Python runs.
"""

from importlib.metadata import version

from lmserve.errors import LmserveError
from lmserve.language_model import LanguageModel
from lmserve.loading import load
from lmserve.ngram.model import NgramModel
from lmserve.scorer import NextWord, Scorer, TextScores, WordScore, perplexity
from lmserve.text.special_tokens import SpecialTokens

__version__ = version("lmserve")
__all__ = [
    "LanguageModel",
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
