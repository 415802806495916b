"""`lmserve verify`: check every byte of what is to be served, fetching it where need be."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jobs.shell import output, run
from lmserve.publishing.fetching import default_cache
from lmserve.publishing.verifying import verified


def verify(
    models: Annotated[
        str, Argument(help="Model folder, or directory of published models: a folder, or a URL.")
    ],
    model_cache: Annotated[
        Path | None,
        Option(help="Folder for models fetched from a URL.", show_default="~/.cache/lmserve"),
    ] = None,
) -> None:
    """Check every byte of a model, or of the current versions of MODELS; fetch those of a URL.

    A service that starts afterwards on this machine finds what was fetched.
    """
    for one in verified(models, model_cache or default_cache()):
        named = f"{one.name} {one.version}".rstrip()
        line = f"{named}: every byte checked, digest {one.digest}"
        output.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(verify)
