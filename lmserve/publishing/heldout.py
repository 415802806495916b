"""How well a model predicts text that it was not made from: what services compare texts with."""

import math
from collections.abc import Sequence
from pathlib import Path

from lmserve.errors import InputError, OptionError
from lmserve.evaluation import evaluate
from lmserve.loading import kind_of, load
from lmserve.mixing.manifest import MixtureManifest
from lmserve.text.sources import find_files, split

_PIECE_BYTES = 8 << 20


def measured(model: Path, inputs: Sequence[str]) -> float:
    """The perplexity of a text, each line by itself, as a service scores them.

    Args:
        model: folder of the model.
        inputs: files, URLs, patterns.

    Raises:
        InputError: the text cannot be read, is empty, or holds a line of probability 0.
        ModelError: there is no model.
    """
    opened = load(model)
    pieces = split(find_files(inputs), _PIECE_BYTES)
    found = evaluate(opened, pieces, opened.special_tokens, segment=opened.segment).perplexity
    if math.isinf(found):
        raise InputError(
            f"{' '.join(inputs)} has a line of probability 0 under {model}",
            "Give another text, or leave --heldout out.",
        )
    return found


def told_by(model: Path) -> float | None:
    """What the making of a model came to; None where its manifest tells nothing.

    A network tells the perplexity of its validation text after its best epoch, a mixture that of
    the text its weights were found on; both were read on from line to line.
    """
    kind = kind_of(model)
    found = None
    if kind == "mixture":
        found = MixtureManifest.read(model).perplexity
    elif kind == "rnn":
        # Who has such a model open has what this needs.
        from lmserve.rnn.manifest import RecurrentManifest

        epochs = RecurrentManifest.read(model).epochs
        found = min((epoch.valid_perplexity for epoch in epochs), default=None)
    return found if found is not None and 1 <= found < math.inf else None


def check(perplexity: float) -> None:
    """Raises `OptionError` where a number can be no perplexity."""
    if not 1 <= perplexity < math.inf:
        raise OptionError(
            f"the held-out perplexity is {perplexity:g}", "Give a number of at least 1."
        )
