"""`lmserve eval`: the perplexity of a text under a model."""

import json
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

import lmserve
from jobs.shell import SpecialTokensOption, TextColumnOption, output, progress_bar, run
from lmserve import evaluation
from lmserve.text.sources import DEFAULT_COLUMN, find_files, split

_PIECE_BYTES = 8 << 20


def evaluate(
    model: Annotated[Path, Argument(help="Model folder.")],
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT...",
            help="Text, one sentence a line, .jsonl or .parquet: files, URLs, 'patterns*', or -.",
        ),
    ],
    special_tokens: SpecialTokensOption = None,
    text_column: TextColumnOption = DEFAULT_COLUMN,
    as_json: Annotated[bool, Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure how well MODEL predicts a text."""
    scorer = lmserve.load(model, special_tokens=special_tokens)
    pieces = split(find_files(inputs), _PIECE_BYTES, text_column)
    with progress_bar() as progress:
        task = progress.add_task("score", total=sum(piece.size_bytes for piece in pieces))
        result = evaluation.evaluate(
            scorer,
            pieces,
            scorer.special_tokens,
            lambda size: progress.advance(task, size),
            segment=scorer.segment,
        )
    if as_json:
        print(json.dumps(result.as_dict()))  # noqa: T201 - this is the result
        return
    table = Table("", f"{model}", title=" ".join(inputs))
    table.add_row("perplexity", f"{result.perplexity:,.2f}")
    table.add_row("perplexity without unknown words", f"{result.perplexity_without_oov:,.2f}")
    table.add_row("tokens, sentence ends included", f"{result.tokens:,}")
    table.add_row("unknown words", f"{result.oov:,}")
    table.add_row("log10 probability", f"{result.log10_prob:,.2f}")
    table.add_row("seconds", f"{result.seconds:.2f}")
    output.print(table)


if __name__ == "__main__":
    run(evaluate)
