"""`lmserve next`: what may come next."""

import json
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

import lmserve
from jobs.shell import ModelArgument, SpecialTokensOption, output, run


def next_words(
    model: ModelArgument,
    context: Annotated[str, Argument(help="The beginning of a sentence; '' for none.")],
    top: Annotated[int, Option(help="How many words.")] = 10,
    special_tokens: SpecialTokensOption = None,
    as_json: Annotated[bool, Option("--json", help="One JSON array instead of a table.")] = False,
) -> None:
    """Print the most probable next words after CONTEXT, with their probabilities."""
    words = lmserve.load(model, special_tokens=special_tokens).next_words(context, top=top)
    if as_json:
        print(json.dumps([word._asdict() for word in words]))  # noqa: T201 - this is the result
        return
    table = Table("next word", "probability", "log10")
    for word, log10_prob in words:
        table.add_row(word, f"{10**log10_prob:.4f}", f"{log10_prob:.4f}")
    output.print(table)


if __name__ == "__main__":
    run(next_words)
