"""Where a model directory lies: a folder, or an object store that is named by a URL.

What is written appears whole or not at all: on a file system by renaming, in an object store
because that is how it takes objects.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from lmserve.publishing.naming import is_name
from lmserve.publishing.records import MAX_RECORD_BYTES, PUBLISHED_FILE
from lmserve.remote_folder import RemoteFolder, Source
from lmserve.text.storage import is_url


class Store(Protocol):
    """Files by path, relative to the model directory, with `/` between parts."""

    @property
    def location(self) -> str:
        """Where it lies, to be shown."""
        ...

    def read(self, path: str) -> bytes | None:
        """A record, or a little more than one may have; None where there is no such file."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Puts a record in its place, at once."""
        ...

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders in a folder that can be names of models or versions, sorted."""
        ...

    def add(self, path: str, files: Mapping[str, Source], published: bytes) -> None:
        """Adds a version; until all of it is there, it has no `PUBLISHED_FILE`.

        Args:
            path: of its folder.
            files: by path in it.
            published: what the `PUBLISHED_FILE` says.
        """
        ...

    def locked(self, name: str) -> AbstractContextManager[object]:
        """While it is held, nobody else moves the pointer of a name; object stores have none."""
        ...


def open_store(location: str) -> "LocalStore | RemoteStore":
    """The store at a path or a URL.

    Raises:
        InputError: the URL cannot be understood.
        DependencyError: the URL needs a package that is not installed.
    """
    return RemoteStore(location) if is_url(location) else LocalStore(Path(location))


class LocalStore:
    """A folder; files of a version are hard links to those that were published, where possible."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        """See `Store`."""
        return str(self.root)

    def read(self, path: str) -> bytes | None:
        """See `Store`."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(MAX_RECORD_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, data: bytes) -> None:
        """See `Store`."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def folders(self, path: str = "") -> list[str]:
        """See `Store`."""
        with suppress(FileNotFoundError, NotADirectoryError):
            inside = (self.root / path).iterdir()
            return sorted(entry.name for entry in inside if is_name(entry.name) and entry.is_dir())
        return []

    def add(self, path: str, files: Mapping[str, Source], published: bytes) -> None:
        """See `Store`."""
        target = self.root / path
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        partial.mkdir(parents=True)
        try:
            for name, source in {**files, PUBLISHED_FILE: published}.items():
                place(source, partial / name)
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """See `Store`."""
        (self.root / name).mkdir(parents=True, exist_ok=True)
        with (self.root / name / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class RemoteStore:
    """An object store, or another file system that Arrow or fsspec reach by a URL."""

    def __init__(self, url: str) -> None:
        self._folder = RemoteFolder(url)

    @property
    def location(self) -> str:
        """See `Store`."""
        return self._folder.location

    def read(self, path: str) -> bytes | None:
        """See `Store`."""
        return self._folder.read(path, MAX_RECORD_BYTES + 1)

    def write(self, path: str, data: bytes) -> None:
        """See `Store`."""
        self._folder.put(path, data)

    def folders(self, path: str = "") -> list[str]:
        """See `Store`."""
        return list(filter(is_name, self._folder.folders(path)))

    def add(self, path: str, files: Mapping[str, Source], published: bytes) -> None:
        """See `Store`."""
        for name, source in {**files, PUBLISHED_FILE: published}.items():
            self._folder.put(f"{path}/{name}", source)

    def locked(self, name: str) -> AbstractContextManager[object]:
        """See `Store`."""
        return nullcontext(name)

    def get(self, path: str, target: Path) -> None:
        """Copies a file of the store to a file of this machine."""
        self._folder.get(path, target)


def place(source: Source, target: Path) -> None:
    """Makes a file: a hard link of the source, or a copy where there can be none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        target.write_bytes(source)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
