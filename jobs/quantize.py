"""`lmserve quantize`: a smaller copy of a model."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jobs.comparing import comparison
from jobs.shell import output as terminal
from jobs.shell import run
from lmserve.ngram.model import NgramModel
from lmserve.ngram.quantizing import quantize


def quantize_model(
    model: Annotated[Path, Argument(help="Model folder.")],
    output: Annotated[
        Path, Option("--output", "-o", help="Folder for the copy; it must not exist.")
    ],
    bits: Annotated[int, Option(help="Width of a probability's code, 2 to 16.")] = 8,
    text: Annotated[
        list[str] | None, Option(help="Text to compare the perplexities of; may be repeated.")
    ] = None,
) -> None:
    """Copy MODEL with codes of a few bits in the place of exact probabilities."""
    exact = NgramModel.load(model)
    quantize(exact, output, bits)
    terminal.print(comparison((exact, NgramModel.load(output)), text or ()))


if __name__ == "__main__":
    run(quantize_model)
