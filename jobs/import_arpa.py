"""`lmserve import`: a model from ARPA text."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jobs.shell import messages, progress_bar, run
from lmserve.ngram.importing import import_arpa
from lmserve.publishing.remote_models import made_at
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.storage import shown


def import_model(
    arpa: Annotated[
        Path, Argument(metavar="FILE", help="ARPA text, plain or .gz, .bz2, .xz, .zst.")
    ],
    output: Annotated[
        str, Option("--output", "-o", help="Folder for the model, or its URL; it must not exist.")
    ],
    special_tokens: Annotated[
        SpecialTokens,
        Option(help="How <s>, </s>, <unk> in a text to be scored are taken."),
    ] = SpecialTokens.ERROR,
) -> None:
    """Make a model of an ARPA FILE that SRILM, KenLM or lmserve wrote."""
    with made_at(output) as folder, progress_bar() as progress:
        task = progress.add_task("import", total=None)
        manifest = import_arpa(
            arpa,
            folder,
            special_tokens=special_tokens,
            on_progress=lambda ngrams: progress.advance(task, ngrams),
        )
    counts = ", ".join(f"{count:,}" for count in manifest.ngrams)
    name = shown(output)
    messages.print(f"{name}: {counts} n-grams, digest {manifest.digest}", highlight=False)
    messages.print(f"Next: lmserve eval {name} TEXT", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(import_model)
