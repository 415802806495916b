"""Reading a model directory: its names, their pointers, their versions."""

import os
from dataclasses import dataclass
from pathlib import Path

from lmserve.errors import ModelError
from lmserve.manifests import MANIFEST_FILE
from lmserve.publishing.naming import checked_name
from lmserve.publishing.records import (
    POINTER_FILE,
    PUBLISHED_FILE,
    Pointer,
    Published,
    parse_record,
)
from lmserve.publishing.stores import LocalStore, RemoteStore, open_store
from lmserve.remote_folder import RemoteFolder
from lmserve.text.storage import is_url


def is_directory(location: str | os.PathLike[str]) -> bool:
    """Whether it is meant as a model directory: a URL or a folder that is no model itself.

    Raises:
        InputError: the URL cannot be read.
    """
    name = os.fspath(location)
    if is_url(name):
        return not RemoteFolder(name).exists(MANIFEST_FILE)
    return Path(name).is_dir() and not (Path(name) / MANIFEST_FILE).exists()


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """Models by name and version; see the package.

    Attributes:
        store: where it lies.
    """

    store: LocalStore | RemoteStore

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> "ModelDirectory":
        """The directory at a path or a URL, which may be empty.

        Raises:
            InputError: the URL cannot be understood.
            DependencyError: the URL needs a package that is not installed.
        """
        return cls(open_store(os.fspath(location)))

    @property
    def location(self) -> str:
        """Where it lies, to be shown."""
        return self.store.location

    def names(self) -> list[str]:
        """What may be names of models, sorted; those without a pointer included."""
        return self.store.folders()

    def pointer(self, name: str) -> Pointer | None:
        """The pointer of a name; None where there is none.

        Raises:
            CorruptModelError: it is no pointer.
        """
        path = f"{checked_name(name)}/{POINTER_FILE}"
        data = self.store.read(path)
        return None if data is None else parse_record(Pointer, data, f"{self.location}/{path}")

    def require_pointer(self, name: str) -> Pointer:
        """The pointer of a name.

        Raises:
            ModelError: there is none.
        """
        pointer = self.pointer(name)
        if pointer is None:
            there = [other for other in self.names() if self.pointer(other) is not None]
            raise ModelError(
                f"there is no model {name!r} in {self.location}",
                f"Name one of: {', '.join(there)}." if there else "Publish one: lmserve publish.",
            )
        return pointer

    def versions(self, name: str) -> list[str]:
        """What may be versions of a model, sorted; unfinished ones included."""
        return self.store.folders(checked_name(name))

    def published(self, name: str, version: str) -> Published | None:
        """What a version holds; None where it is not there, or not complete.

        Raises:
            CorruptModelError: its record is none.
        """
        path = f"{checked_name(name)}/{checked_name(version, 'version')}/{PUBLISHED_FILE}"
        data = self.store.read(path)
        return None if data is None else parse_record(Published, data, f"{self.location}/{path}")

    def require_published(self, name: str, version: str) -> Published:
        """What a version holds.

        Raises:
            ModelError: it is not there.
        """
        published = self.published(name, version)
        if published is None:
            there = [v for v in self.versions(name) if self.published(name, v) is not None]
            raise ModelError(
                f"there is no version {version!r} of {name!r} in {self.location}",
                f"Name one of: {', '.join(there)}." if there else "Publish one: lmserve publish.",
            )
        return published
