"""`lmserve quantize`: a smaller copy of a model."""

from typing import Annotated

from typer import Option

from jobs.comparing import comparison
from jobs.shell import ModelArgument, run
from jobs.shell import output as terminal
from lmserve.ngram.model import NgramModel
from lmserve.ngram.quantizing import quantize
from lmserve.publishing.remote_models import made_at, model_folder
from lmserve.text.storage import shown


def quantize_model(
    model: ModelArgument,
    output: Annotated[
        str, Option("--output", "-o", help="Folder for the copy, or its URL; it must not exist.")
    ],
    bits: Annotated[int, Option(help="Width of a probability's code, 2 to 16.")] = 8,
    text: Annotated[
        list[str] | None, Option(help="Text to compare the perplexities of; may be repeated.")
    ] = None,
) -> None:
    """Copy MODEL with codes of a few bits in the place of exact probabilities."""
    exact = NgramModel.load(model_folder(model))
    with made_at(output) as folder:
        quantize(exact, folder, bits)
        models = {shown(model): exact, shown(output): NgramModel.load(folder)}
        terminal.print(comparison(models, text or ()))


if __name__ == "__main__":
    run(quantize_model)
