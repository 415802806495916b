"""`lmserve gradients`: how far back networks remember, and what clipping is for.

With models: probes them on a text. With --experiment: trains small networks on it, sigmoid, tanh,
IRNN and LSTM, and probes each before and after; and one that explodes, with and without clipping.
OUTPUT then holds gradients.html, a page that needs nothing else; gradients.json, the numbers; and
the pictures.
"""

import itertools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from typer import Argument, Option

from jobs.shell import SpecialTokensOption, TextColumnOption, output, progress_bar, run
from lmserve.errors import OptionError
from lmserve.publishing.remote_models import model_folder
from lmserve.text.sources import BLOCK_BYTES, DEFAULT_COLUMN, find_files, split
from lmserve.text.special_tokens import SpecialTokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lmserve.rnn.corpus import Numbering, Rows
    from lmserve.rnn.experiment import ExperimentConfig
    from lmserve.rnn.probing import LagCurve

_PAGE = "gradients.html"


def gradient_report(
    text: Annotated[
        list[str],
        Option(help="Text, one sentence a line: files, URLs, 'patterns*'; again for more."),
    ],
    folder: Annotated[
        Path, Option("--output", "-o", help="Folder for the page, the numbers and the pictures.")
    ],
    models: Annotated[
        list[str] | None,
        Argument(metavar="[MODEL]...", help="Recurrent models: folders, or their URLs."),
    ] = None,
    experiment: Annotated[
        bool, Option("--experiment", help="Train and compare small networks instead.")
    ] = False,
    lags: Annotated[int, Option(help="The largest number of words to look back.")] = 100,
    windows: Annotated[int, Option(help="Places of the text to measure at.")] = 4,
    size: Annotated[int, Option(help="Of the experiment: units of a layer.")] = 200,
    steps: Annotated[int, Option(help="Of the experiment: updates of each network.")] = 300,
    seed: Annotated[int, Option(help="Of the experiment: of the first weights.")] = 1,
    special_tokens: SpecialTokensOption = None,
    text_column: TextColumnOption = DEFAULT_COLUMN,
) -> None:
    """Measure how far back gradients reach in recurrent networks."""
    if experiment == bool(models):
        raise OptionError(
            f"{len(models or [])} models with{'' if experiment else 'out'} --experiment",
            "Name models to probe, or give --experiment and none.",
        )
    # Here, so that the other commands start without torch and matplotlib.
    from lmserve.rnn.experiment import ExperimentConfig

    if experiment:
        config = ExperimentConfig(size=size, steps=steps, lags=lags, windows=windows, seed=seed)
        marks = special_tokens or SpecialTokens.ERROR
        _experiment(config, _count(text, marks, text_column), folder)
    else:
        folders = [model_folder(model) for model in models or []]
        _probe(folders, text, folder, lags, windows, special_tokens, text_column)
    output.print(f"Open {folder / _PAGE} in a browser.", soft_wrap=True)


def _probe(
    models: list[Path],
    text: list[str],
    folder: Path,
    lags: int,
    windows: int,
    special_tokens: SpecialTokens | None,
    column: str,
) -> None:
    from lmserve.rnn.pictures import draw_lags
    from lmserve.rnn.report import labelled, models_facts, models_page, probe_model

    pieces = split(find_files(text), BLOCK_BYTES, column)
    with progress_bar() as progress:
        probed = [
            probe_model(path, pieces, lags=lags, windows=windows, special_tokens=special_tokens)
            for path in progress.track(models, description="probe")
        ]
    curves_by_name = labelled(probed)
    _write(
        folder,
        models_page(probed),
        models_facts(probed),
        {"lags": draw_lags({"Memory by lag": curves_by_name})},
    )
    _print("Memory of models", curves_by_name)


def _count(text: list[str], marks: SpecialTokens, column: str) -> "tuple[Rows, Numbering]":
    """A text as rows of its own vocabulary."""
    from lmserve.ngram.vocabulary import Vocabulary
    from lmserve.rnn.corpus import Numbering, count_words

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        rows = count_words(text, marks, place, place, column=column)
        return rows, Numbering.of(Vocabulary.open(place))


def _experiment(config: "ExperimentConfig", text: "tuple[Rows, Numbering]", folder: Path) -> None:
    from lmserve.rnn.experiment import STAGES, run_experiment
    from lmserve.rnn.pictures import draw_explosion, draw_lags
    from lmserve.rnn.report import (
        experiment_facts,
        experiment_page,
        experiment_panels,
        explosion_runs,
        outcome,
    )

    rows, numbering = text
    with progress_bar() as progress:
        task = progress.add_task("begin", total=STAGES)

        done = itertools.count()

        def listen(stage: str) -> None:
            progress.update(task, description=stage, completed=next(done))

        found = run_experiment(config, rows, len(numbering), numbering.eos, listen)
    panels, clip_at = experiment_panels(found), config.exploding(clipped=True).clip_at
    _write(
        folder,
        experiment_page(config, found),
        experiment_facts(config, found),
        {"lags": draw_lags(panels), "explosion": draw_explosion(explosion_runs(found), clip_at)},
    )
    for title, curves in panels.items():
        _print(title, curves)
    for cell, perplexity in found.perplexities.items():
        output.print(f"{cell}: perplexity {perplexity:,.1f} of held-out text after training")
    for name, ended in (("not clipped", found.unclipped), ("clipped", found.clipped)):
        output.print(outcome(name, ended), soft_wrap=True)


def _write(
    folder: Path, page: str, facts: Mapping[str, Any], figures: "Mapping[str, Figure]"
) -> None:
    from lmserve.rnn.pictures import png

    folder.mkdir(parents=True, exist_ok=True)
    (folder / _PAGE).write_text(page, encoding="utf-8", newline="\n")
    (folder / "gradients.json").write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    for name, figure in figures.items():
        (folder / f"{name}.png").write_bytes(png(figure))


def _print(title: str, curves: "Mapping[str, LagCurve]") -> None:
    from lmserve.rnn.report import HORIZON_HEADS, horizon_rows

    table = Table(*HORIZON_HEADS, title=title)
    for row in horizon_rows(curves):
        table.add_row(*row)
    output.print(table)


if __name__ == "__main__":
    run(gradient_report)
