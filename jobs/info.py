"""`lmserve info`: what a model is."""

import json
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from typer import Option

import lmserve
from jobs.describing import Facts, describe_ngrams, describe_recurrent
from jobs.mix import mixture_table
from jobs.shell import ModelArgument, output, run
from lmserve.mixing.manifest import MixtureManifest
from lmserve.mixing.model import Mixture
from lmserve.ngram.model import NgramModel
from lmserve.publishing.remote_models import model_folder
from lmserve.text.storage import shown


def info(
    model: ModelArgument,
    verify: Annotated[
        bool, Option("--verify", help="Read every byte and compare its checksum.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="The manifest, as JSON.")] = False,
) -> None:
    """Print what a model is: of what it is made, its sizes, how it was trained, its digest."""
    manifest, table, facts = _describe(model_folder(model), shown(model), verify=verify)
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))  # noqa: T201 - this is the result
        return
    output.print(table)
    checked = " (every byte checked)" if verify else ""
    for name, fact in (facts | {"digest": f"{manifest.digest}{checked}"}).items():
        output.print(f"{name:<22} {fact}", highlight=False, soft_wrap=True)


def _describe(folder: Path, title: str, *, verify: bool) -> tuple[Any, Table, Facts]:
    """A model's manifest, a table of its parts, and other facts."""
    loaded = lmserve.load(folder, check=verify)
    if isinstance(loaded, NgramModel):
        return loaded.manifest, *describe_ngrams(loaded, title)
    if isinstance(loaded, Mixture):
        manifest = MixtureManifest.read(folder)
        facts: Facts = {component.path: component.digest for component in manifest.components}
        return manifest, mixture_table(manifest, title), facts
    # Only who has a recurrent model has torch.
    from lmserve.rnn.scoring import RecurrentModel

    assert isinstance(loaded, RecurrentModel)
    return loaded.manifest, *describe_recurrent(loaded.manifest, title)


if __name__ == "__main__":
    run(info)
