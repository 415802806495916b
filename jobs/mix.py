"""`lmserve mix`: several models as one."""

from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from jobs.shell import TextColumnOption, messages, run
from jobs.shell import output as terminal
from lmserve.mixing.combining import Method
from lmserve.mixing.making import MixConfig, mix
from lmserve.mixing.manifest import MixtureManifest
from lmserve.text.sources import DEFAULT_COLUMN


def mix_models(
    models: Annotated[
        list[Path], Argument(metavar="MODEL...", help="Folders of models over the same words.")
    ],
    dev: Annotated[
        list[str],
        Option(help="Text that the weights are made for, unseen in training; may be repeated."),
    ],
    output: Annotated[
        Path, Option("--output", "-o", help="Folder for the mixture; it must not exist.")
    ],
    method: Annotated[
        Method, Option(help="A sum of probabilities, or a normalised product of their powers.")
    ] = Method.LINEAR,
    dev_tokens: Annotated[
        int | None,
        Option(
            help="Take only so many tokens of the text.",
            show_default="all; log-linear, up to 5000 in 512 MB",
        ),
    ] = None,
    copy: Annotated[
        bool, Option("--copy", help="Copy the models into the mixture's folder.")
    ] = False,
    text_column: TextColumnOption = DEFAULT_COLUMN,
    as_json: Annotated[
        bool, Option("--json", help="The mixture's manifest instead of a table.")
    ] = False,
) -> None:
    """Mix MODELS, with the weights that make a development text most probable."""
    manifest = mix(
        MixConfig(
            models=tuple(models),
            dev=tuple(dev),
            output=output,
            method=method,
            dev_tokens=dev_tokens,
            copy=copy,
            text_column=text_column,
        )
    )
    if as_json:
        print(manifest.model_dump_json())  # noqa: T201 - this is the result
        return
    terminal.print(mixture_table(manifest, str(output)))
    messages.print(f"wrote {output}", highlight=False, soft_wrap=True)


def mixture_table(manifest: MixtureManifest, title: str) -> Table:
    """Components, their perplexities of the development text and weights; the mixture below."""
    table = Table(title=f"{title}: {manifest.method}", show_footer=True)
    table.add_column("model", "mixture")
    table.add_column(f"perplexity of {manifest.tokens:,} tokens", _shown(manifest.perplexity))
    table.add_column("weight")
    for facts in manifest.components:
        table.add_row(facts.path, _shown(facts.perplexity), f"{facts.weight:.4f}")
    return table


def _shown(perplexity: float | None) -> str:
    return "infinite" if perplexity is None else f"{perplexity:,.2f}"


if __name__ == "__main__":
    run(mix_models)
