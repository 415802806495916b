"""Checking models byte by byte before they are served: a folder, or a whole model directory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmserve.errors import ModelError
from lmserve.loading import load
from lmserve.publishing.directory import ModelDirectory, is_directory
from lmserve.publishing.fetching import local_folder


@dataclass(frozen=True, slots=True)
class Verified:
    """A model all of whose bytes are what they were.

    Attributes:
        name: of the model; of a folder that is no version of a directory, the folder's.
        version: which; empty for such a folder.
        digest: of the model.
        folder: where it lies on this machine.
    """

    name: str
    version: str
    digest: str
    folder: Path


def verified(location: str, cache: Path) -> Iterator[Verified]:
    """Reads every byte of a model, or of the current version of each name of a directory.

    Versions of a directory at a URL are fetched to this machine, where services find them.

    Args:
        location: a model folder, a model directory, or the URL of one.
        cache: folder for what is fetched.

    Yields:
        Each model, once it is checked.

    Raises:
        ModelError: there is no model.
        CorruptModelError: a byte was changed, or the version holds another model than published.
        InputError: the URL cannot be read.
    """
    if not is_directory(location):
        folder = Path(location)
        yield Verified(folder.resolve().name, "", load(folder, check=True).digest, folder)
        return
    directory = ModelDirectory.at(location)
    found = False
    for name in directory.names():
        pointer = directory.pointer(name)
        if pointer is not None:
            found = True
            yield _current(directory, name, pointer.current, cache)
    if not found:
        raise ModelError(
            f"there is no published model in {directory.location}",
            "Publish one: lmserve publish.",
        )


def _current(directory: ModelDirectory, name: str, version: str, cache: Path) -> Verified:
    published = directory.require_published(name, version)
    folder = local_folder(directory, name, version, published, cache)
    digest = load(folder, check=True).digest
    if digest != published.digest:
        raise ModelError(
            f"{folder} holds the model {digest[:16]}..., published was {published.digest[:16]}...",
            "Publish the model again as another version.",
        )
    return Verified(name, version, digest, folder)
