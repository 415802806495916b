"""`lmserve prune`: a copy of a model without the n-grams that hardly change it."""

from typing import Annotated

from typer import Option

from jobs.comparing import comparison
from jobs.shell import ModelArgument, messages, run
from jobs.shell import output as terminal
from lmserve.ngram.entropy_pruning import prune_by_entropy
from lmserve.ngram.model import NgramModel
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.publishing.remote_models import made_at, model_folder
from lmserve.text.storage import shown


def prune(
    model: ModelArgument,
    entropy: Annotated[
        float,
        Option(help="Leave out n-grams whose loss raises the perplexity by a share below this."),
    ],
    output: Annotated[
        str, Option("--output", "-o", help="Folder for the copy, or its URL; it must not exist.")
    ],
    text: Annotated[
        list[str] | None, Option(help="Text to compare the perplexities of; may be repeated.")
    ] = None,
) -> None:
    """Copy MODEL without the n-grams that the shorter ones nearly make up for."""
    whole = NgramModel.load(model_folder(model))
    smoothing = whole.manifest.smoothing
    if smoothing != "imported" and smoothing.uses_adjusted_counts:
        messages.print(
            f"warning: the lower orders of {smoothing} are no frequencies, so contexts are weighed "
            f"wrongly; build with {Smoothing.ABSOLUTE_DISCOUNTING} or {Smoothing.WITTEN_BELL} to "
            "prune by entropy, or prune by counts: lmserve build --prune.",
            soft_wrap=True,
        )
    with made_at(output) as folder:
        prune_by_entropy(whole, folder, entropy)
        models = {shown(model): whole, shown(output): NgramModel.load(folder)}
        terminal.print(comparison(models, text or ()))


if __name__ == "__main__":
    run(prune)
