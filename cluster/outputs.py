"""Where what is made appears when it is complete: a folder, or one of a store."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from cluster.build_store import side_by_side
from cluster.config import BuildConfig
from cluster.workspace import Workspace
from lmserve.errors import InputError
from lmserve.remote_folder import RemoteFolder

# More than any file that is read as a whole.
_MAX_BYTES = 1 << 26
# In a build's folder, the manifest of what is being published.
_PUBLISHING = "publishing.json"


class Output(Protocol):
    """The folder of a finished model, or of counts."""

    def exists(self) -> bool:
        """Whether there is anything."""
        ...

    def read(self, name: str) -> bytes | None:
        """One of its files; None where there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Adds a file to it, or replaces one."""
        ...

    def begun(self, files: Workspace) -> bool:
        """Whether what is there was put there by this build, which was then stopped."""
        ...

    def published(self, files: Workspace) -> bool:
        """Whether this build was stopped when its result was in its place."""
        ...

    def publish(self, files: Workspace) -> None:
        """Moves the finished result into its place; what is there gives way only now."""
        ...


def read_summary(config: BuildConfig) -> dict[str, Any]:
    """What a finished build has left beside what it made; see `cluster.summary`.

    Raises:
        InputError: it is not there any more.
    """
    content = open_output(config).read(config.summary_file)
    if content is None:
        raise InputError(
            f"there is no {config.summary_file} in {config.place!r}", "Is it being replaced?"
        )
    summary: dict[str, Any] = json.loads(content)
    return summary


def open_output(config: BuildConfig) -> Output:
    """The place of what a build makes."""
    if config.url is None:
        return LocalOutput(config)
    return StoredOutput(config.url, config.manifest_file)


class LocalOutput:
    """A folder of this machine, or of storage that it shares with others."""

    def __init__(self, config: BuildConfig) -> None:
        self._path = config.output
        self._manifest = config.manifest_file
        self._elsewhere = config.temp_dir is not None

    def exists(self) -> bool:
        """See `Output`."""
        return os.path.lexists(self._path)

    def read(self, name: str) -> bytes | None:
        """See `Output`."""
        path = self._path / name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        """See `Output`."""
        (self._path / name).write_bytes(content)

    def begun(self, files: Workspace) -> bool:  # noqa: ARG002 - it takes its name at once
        """See `Output`."""
        return False

    def published(self, files: Workspace) -> bool:
        """See `Output`."""
        here, there = files.model / self._manifest, self.read(self._manifest)
        if there is None:
            return False
        # It was moved; or copied, and the original not yet deleted.
        return not files.model.exists() or (here.is_file() and here.read_bytes() == there)

    def publish(self, files: Workspace) -> None:
        """See `Output`."""
        landing = files.folder
        if self._elsewhere:
            landing = self._path.with_name(f"{self._path.name}.arriving")
            shutil.rmtree(landing, ignore_errors=True)
            landing.mkdir()
            shutil.copytree(files.model, landing / files.model.name)
        model = landing / files.model.name
        for path in model.rglob("*"):
            _sync(path)
        _sync(model)
        if self._path.exists():
            self._path.rename(landing / "replaced")
        model.rename(self._path)
        _sync(self._path.parent)
        # First of all, for it would tell that the model is not yet in its place.
        shutil.rmtree(files.model, ignore_errors=True)
        shutil.rmtree(landing, ignore_errors=True)


class StoredOutput:
    """A folder of a store, which has no renames: what is there is complete if it has a manifest.

    Args:
        url: of the folder.
        manifest: its manifest's name.
    """

    def __init__(self, url: str, manifest: str) -> None:
        self._folder = RemoteFolder(url)
        self._manifest = manifest

    def exists(self) -> bool:
        """See `Output`."""
        return not self._folder.empty()

    def read(self, name: str) -> bytes | None:
        """See `Output`."""
        return self._folder.read(name, _MAX_BYTES)

    def write(self, name: str, content: bytes) -> None:
        """See `Output`."""
        self._folder.put(name, content)

    def begun(self, files: Workspace) -> bool:
        """See `Output`."""
        return not files.undone([files.folder / _PUBLISHING])

    def published(self, files: Workspace) -> bool:
        """See `Output`."""
        there = self.read(self._manifest)
        if there is None or not self.begun(files):
            return False
        files.need(files.folder / _PUBLISHING)
        return (files.folder / _PUBLISHING).read_bytes() == there

    def publish(self, files: Workspace) -> None:
        """See `Output`."""
        shutil.copyfile(files.model / self._manifest, files.folder / _PUBLISHING)
        files.share(files.folder / _PUBLISHING)
        if self._folder.exists(self._manifest):
            self._folder.delete_file(self._manifest)
        made = {path.relative_to(files.model).as_posix(): path for path in _files(files.model)}
        for old in self._folder.files():
            if old not in made:
                self._folder.delete_file(old)
        manifest = made.pop(self._manifest)
        side_by_side(lambda name: self._folder.put(name, made[name]), made)
        self._folder.put(self._manifest, manifest)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
