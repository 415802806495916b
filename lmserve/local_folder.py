"""A folder of this machine with the methods of `lmserve.remote_folder.RemoteFolder`."""

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa

from lmserve.remote_folder import RemoteFolder, Source
from lmserve.text.storage import is_url


class LocalFolder:
    """Files by path, relative to the folder; what is written appears whole or not at all.

    Args:
        root: the folder, which need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        """Where it lies, to be shown."""
        return str(self.root)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.size_bytes(path) is not None

    def size_bytes(self, path: str) -> int | None:
        """A file's size; None where there is no such file."""
        place = self.root / path
        return place.stat().st_size if place.is_file() else None

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """A file's first bytes; None where there is no such file."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(limit_bytes)
        except FileNotFoundError:
            return None

    def open(self, path: str) -> Any:
        """A file as Arrow's random access file."""
        return pa.OSFile(str(self.root / path), "rb")

    def put(self, path: str, source: Source) -> None:
        """Writes a file: bytes, or a copy of one of this machine."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            if isinstance(source, bytes):
                partial.write_bytes(source)
            else:
                shutil.copyfile(source, partial)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)

    def files(self) -> list[str]:
        """Paths of all files below the folder, relative to it, sorted."""
        found = (
            Path(folder, name).relative_to(self.root)
            for folder, _, names in os.walk(self.root)
            for name in names
        )
        return sorted(map(str, found))

    def delete_file(self, path: str) -> None:
        """Deletes a file, which must exist."""
        (self.root / path).unlink()


Folder = LocalFolder | RemoteFolder


def open_folder(location: str) -> Folder:
    """The folder at a path or a URL.

    Raises:
        InputError: the URL cannot be understood.
        DependencyError: the URL needs a package that is not installed.
    """
    return RemoteFolder(location) if is_url(location) else LocalFolder(Path(location))
