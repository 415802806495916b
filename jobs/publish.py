"""`lmserve publish`, `rollback`, `models`: models by name and version, for services to follow."""

import json
from typing import Annotated, Any

from rich.table import Table
from typer import Argument, Option

from jobs.shell import messages, run
from jobs.shell import output as terminal
from lmserve.errors import OptionError
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.heldout import measured
from lmserve.publishing.publishing import publish as publish_model
from lmserve.publishing.publishing import rollback as roll_back
from lmserve.publishing.records import Pointer
from lmserve.publishing.remote_models import model_folder

Directory = Annotated[
    str, Argument(metavar="MODELS", help="Directory of published models: a folder, or a URL.")
]


def publish(
    model: Annotated[str, Argument(help="Model folder of any kind, or its URL.")],
    to: Annotated[str, Option(help="Directory of published models: a folder, or a URL.")],
    name: Annotated[
        str | None, Option(help="What clients ask for.", show_default="the folder's name")
    ] = None,
    version: Annotated[
        str | None, Option(help="Never used again.", show_default="from the model's digest")
    ] = None,
    heldout: Annotated[
        list[str] | None,
        Option(
            metavar="TEXT",
            help="Text that MODEL was not made from: its perplexity is what services compare the "
            "texts with that they score. Of networks and mixtures, their making tells one.",
        ),
    ] = None,
    heldout_perplexity: Annotated[
        float | None, Option(metavar="X", help="The same, measured before.")
    ] = None,
) -> None:
    """Copy MODEL into a directory of models and make it the current version of its name."""
    if heldout and heldout_perplexity is not None:
        raise OptionError("--heldout and --heldout-perplexity are both given", "Give one of them.")
    folder = model_folder(model)
    published, pointer = publish_model(
        folder,
        ModelDirectory.at(to),
        name=name,
        version=version,
        heldout_perplexity=measured(folder, heldout) if heldout else heldout_perplexity,
    )
    _tell(published, pointer)


def rollback(
    models: Directory,
    name: Annotated[str, Argument(help="Which model.")],
    to: Annotated[
        str | None,
        Option(metavar="VERSION", help="Which version.", show_default="the one before"),
    ] = None,
) -> None:
    """Make a former version of a model the current one."""
    _tell(name, roll_back(ModelDirectory.at(models), name, to=to))


def list_models(
    models: Directory,
    as_json: Annotated[bool, Option("--json", help="As JSON instead of a table.")] = False,
) -> None:
    """List the models of a directory and their versions."""
    directory = ModelDirectory.at(models)
    listed = [_describe(directory, name, pointer) for name, pointer in _pointers(directory).items()]
    if as_json:
        print(json.dumps({"models": listed}))  # noqa: T201 - this is the result
        return
    terminal.print(_table(directory, listed))


def _tell(name: str, pointer: Pointer) -> None:
    before = f" (before: {pointer.former[-1]})" if pointer.former else ""
    messages.print(f"{name}: current is {pointer.current}{before}", highlight=False, soft_wrap=True)


def _pointers(directory: ModelDirectory) -> dict[str, Pointer]:
    found = ((name, directory.pointer(name)) for name in directory.names())
    return {name: pointer for name, pointer in found if pointer is not None}


def _describe(directory: ModelDirectory, name: str, pointer: Pointer) -> dict[str, Any]:
    """A model with all its versions, the newest first."""
    found = ((version, directory.published(name, version)) for version in directory.versions(name))
    complete = [(version, published) for version, published in found if published is not None]
    complete.sort(key=lambda pair: pair[1].at, reverse=True)
    versions = [
        {
            "version": version,
            "current": version == pointer.current,
            "kind": published.kind,
            "digest": published.digest,
            "published": published.at.isoformat(timespec="seconds"),
            "size_bytes": published.size_bytes,
            "heldout_perplexity": published.heldout_perplexity,
        }
        for version, published in complete
    ]
    history = [step.model_dump(mode="json") for step in pointer.history]
    return {"name": name, "current": pointer.current, "versions": versions, "history": history}


def _table(directory: ModelDirectory, listed: list[dict[str, Any]]) -> Table:
    names = ("name", "version", "", "kind", "published", "MB", "held-out perplexity")
    table = Table(*names, title=directory.location)
    for model in listed:
        for row in model["versions"]:
            table.add_row(
                model["name"],
                row["version"],
                "current" if row["current"] else "",
                row["kind"],
                # To the minute, in universal time.
                row["published"][:16].replace("T", " "),
                f"{row['size_bytes'] / 1e6:,.1f}",
                f"{perplexity:,.2f}" if (perplexity := row["heldout_perplexity"]) else "",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    run(publish)
