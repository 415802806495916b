"""`lmserve mix`: several models as one."""

from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from jobs.shell import TextColumnOption, messages, run
from jobs.shell import output as terminal
from lmserve.mixing.combining import Method
from lmserve.mixing.making import MixConfig, mix
from lmserve.mixing.manifest import MixtureManifest
from lmserve.publishing.remote_models import made_at, model_folder
from lmserve.text.sources import DEFAULT_COLUMN
from lmserve.text.storage import is_url, shown


def mix_models(
    models: Annotated[
        list[str],
        Argument(metavar="MODEL...", help="Models over the same words: folders, or their URLs."),
    ],
    dev: Annotated[
        list[str],
        Option(help="Text that the weights are made for, unseen in training; may be repeated."),
    ],
    output: Annotated[
        str, Option("--output", "-o", help="Folder for the mixture, or its URL; it must not exist.")
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
    cache: Annotated[
        int | None,
        Option(
            metavar="WORDS",
            help="Remember the last so many words that were read, such as 500: what was said is "
            "said again.",
            show_default="none",
        ),
    ] = None,
    copy: Annotated[
        bool,
        Option(
            "--copy",
            help="Copy the models into the mixture's folder; those of URLs are copied anyway.",
        ),
    ] = False,
    text_column: TextColumnOption = DEFAULT_COLUMN,
    as_json: Annotated[
        bool, Option("--json", help="The mixture's manifest instead of a table.")
    ] = False,
) -> None:
    """Mix MODELS, with the weights that make a development text most probable."""
    with made_at(output) as folder:
        manifest = mix(
            MixConfig(
                models=tuple(map(model_folder, models)),
                dev=tuple(dev),
                output=folder,
                method=method,
                dev_tokens=dev_tokens,
                cache=cache,
                # What was fetched is not kept for ever, nor is it where the mixture goes.
                copy=copy or any(map(is_url, [*models, output])),
                text_column=text_column,
            )
        )
    if as_json:
        print(manifest.model_dump_json())  # noqa: T201 - this is the result
        return
    terminal.print(mixture_table(manifest, shown(output)))
    messages.print(f"wrote {shown(output)}", highlight=False, soft_wrap=True)


def mixture_table(manifest: MixtureManifest, title: str) -> Table:
    """Components, their perplexities of the development text and weights; the mixture below."""
    table = Table(title=f"{title}: {manifest.method}", show_footer=True)
    table.add_column("model", "mixture")
    table.add_column(f"perplexity of {manifest.tokens:,} tokens", _shown(manifest.perplexity))
    table.add_column("weight")
    for facts in manifest.components:
        table.add_row(facts.path, _shown(facts.perplexity), f"{facts.weight:.4f}")
    if manifest.cache is not None:
        cache = manifest.cache
        table.caption = (
            f"cache: {cache.window:,} words, decay {cache.decay:.3f}, theta {cache.theta:.1f}, "
            f"strength {cache.strength:,.0f}"
        )
    return table


def _shown(perplexity: float | None) -> str:
    return "infinite" if perplexity is None else f"{perplexity:,.2f}"


if __name__ == "__main__":
    run(mix_models)
