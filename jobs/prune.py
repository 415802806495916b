"""`lmserve prune`: a copy of a model without the n-grams that hardly change it."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jobs.comparing import comparison
from jobs.shell import messages, run
from jobs.shell import output as terminal
from lmserve.ngram.entropy_pruning import prune_by_entropy
from lmserve.ngram.model import NgramModel
from lmserve.ngram.smoothing_methods import Smoothing


def prune(
    model: Annotated[Path, Argument(help="Model folder.")],
    entropy: Annotated[
        float,
        Option(help="Leave out n-grams whose loss raises the perplexity by a share below this."),
    ],
    output: Annotated[
        Path, Option("--output", "-o", help="Folder for the copy; it must not exist.")
    ],
    text: Annotated[
        list[str] | None, Option(help="Text to compare the perplexities of; may be repeated.")
    ] = None,
) -> None:
    """Copy MODEL without the n-grams that the shorter ones nearly make up for."""
    whole = NgramModel.load(model)
    smoothing = whole.manifest.smoothing
    if smoothing != "imported" and smoothing.uses_adjusted_counts:
        messages.print(
            f"warning: the lower orders of {smoothing} are no frequencies, so contexts are weighed "
            f"wrongly; build with {Smoothing.ABSOLUTE_DISCOUNTING} or {Smoothing.WITTEN_BELL} to "
            "prune by entropy, or prune by counts: lmserve build --prune.",
            soft_wrap=True,
        )
    prune_by_entropy(whole, output, entropy)
    terminal.print(comparison((whole, NgramModel.load(output)), text or ()))


if __name__ == "__main__":
    run(prune)
