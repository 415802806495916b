"""`lmserve eval`: the perplexity of a text under a model."""

import json
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

import lmserve
from jobs import adapting
from jobs.score_reports import Report, ReportTexts, watching_scores
from jobs.shell import (
    ModelArgument,
    SpecialTokensOption,
    TextColumnOption,
    output,
    progress_bar,
    run,
)
from lmserve import evaluation
from lmserve.errors import OptionError
from lmserve.text.sources import DEFAULT_COLUMN, find_files, shown, split

_PIECE_BYTES = 8 << 20


def evaluate(
    model: ModelArgument,
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT...",
            help="Text, one sentence a line, .jsonl or .parquet: files, URLs, 'patterns*', or -.",
        ),
    ],
    special_tokens: SpecialTokensOption = None,
    text_column: TextColumnOption = DEFAULT_COLUMN,
    fresh: Annotated[
        bool,
        Option(
            "--fresh",
            help="Begin anew with every line, as services do; otherwise a network's state and a "
            "mixture's cache go on from line to line. N-gram models always begin anew.",
        ),
    ] = False,
    dynamic: adapting.Dynamic = False,
    dynamic_rule: adapting.DynamicRule = None,
    dynamic_rate: adapting.DynamicRate = None,
    dynamic_decay: adapting.DynamicDecay = None,
    dynamic_epsilon: adapting.DynamicEpsilon = None,
    dynamic_length: adapting.DynamicLength = None,
    dynamic_text: adapting.DynamicText = None,
    cache: adapting.Cache = False,
    cache_window: adapting.CacheWindow = None,
    cache_theta: adapting.CacheTheta = None,
    cache_weight: adapting.CacheWeight = None,
    as_json: Annotated[bool, Option("--json", help="One JSON object instead of a table.")] = False,
    report: Report = None,
    report_texts: ReportTexts = False,
) -> None:
    """Measure how well MODEL predicts a text."""
    scorer = lmserve.load(model, special_tokens=special_tokens)
    watch = watching_scores(report, report_texts, model, inputs)
    dynamic_options = {
        "rule": dynamic_rule,
        "rate": dynamic_rate,
        "decay": dynamic_decay,
        "epsilon": dynamic_epsilon,
        "length": dynamic_length,
    }
    cache_options = {"window": cache_window, "theta": cache_theta, "weight": cache_weight}
    if not dynamic:
        adapting.check_unused("--dynamic", dynamic_options | {"text": dynamic_text or None})
    if not cache:
        adapting.check_unused("--cache", cache_options)
    reader = None
    if dynamic or cache:
        if fresh:
            raise OptionError(
                "--fresh forgets every line, and nothing would be learned from it",
                "Leave out --fresh.",
            )
        reader = adapting.adapting_reader(
            scorer,
            dynamic=dynamic_options if dynamic else None,
            cache=cache_options if cache else None,
            statistics=split(find_files(dynamic_text), _PIECE_BYTES, text_column)
            if dynamic_text
            else (),
        )
    elif not fresh:
        reader = evaluation.reader_of(scorer)
    pieces = split(find_files(inputs), _PIECE_BYTES, text_column)
    with progress_bar() as progress:
        task = progress.add_task("score", total=sum(piece.size_bytes for piece in pieces))
        result = evaluation.evaluate(
            scorer,
            pieces,
            scorer.special_tokens,
            lambda size: progress.advance(task, size),
            segment=scorer.segment,
            reader=reader,
            watch=watch.scores,
        )
    watch.write()
    if as_json:
        print(json.dumps(result.as_dict()))  # noqa: T201 - this is the result
        return
    output.print(_table(result, model, inputs))


def _table(result: evaluation.Evaluation, model: str, inputs: list[str]) -> Table:
    table = Table("", shown(model), title=shown(" ".join(inputs)))
    table.add_row("perplexity", f"{result.perplexity:,.2f}")
    table.add_row("perplexity without unknown words", f"{result.perplexity_without_oov:,.2f}")
    table.add_row("tokens, sentence ends included", f"{result.tokens:,}")
    table.add_row("unknown words", f"{result.oov:,}")
    table.add_row("log10 probability", f"{result.log10_prob:,.2f}")
    table.add_row("seconds", f"{result.seconds:.2f}")
    return table


if __name__ == "__main__":
    run(evaluate)
