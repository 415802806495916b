"""A folder of an object store, or of another file system that Arrow or fsspec reach by a URL.

What is written appears whole or not at all, because that is how object stores take objects.
"""

import shutil
import uuid
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pyarrow import fs

from lmserve.text.storage import file_system, plain_path, remote, shown

# A file's source: another file, or its bytes.
Source = Path | bytes
# Arrow's names of file systems that have no folders and need none.
_WITHOUT_FOLDERS = frozenset({"s3", "gcs", "abfs"})
# And of those that show a file while it is being written.
_WITH_RENAMES = frozenset({"local", "hdfs"})
_COPY_BYTES = 8 << 20


def join_url(url: str, path: str) -> str:
    """The URL of a path below that of a folder, whose query stays behind it."""
    head, mark, query = url.partition("?")
    return f"{head.rstrip('/')}/{path}{mark}{query}"


def beside_url(url: str, suffix: str) -> str:
    """The URL of what lies beside another, and has its name with a suffix."""
    head, mark, query = url.partition("?")
    return f"{head.rstrip('/')}{suffix}{mark}{query}"


def name_in_url(url: str) -> str:
    """The last part of a URL's path; empty where it names a whole bucket or host."""
    return plain_path(url).rstrip("/").rpartition("/")[2]


def _writing_at_once(url: str) -> str:
    """The URL by which Arrow writes a small object to S3 in one request instead of three."""
    if not url.lower().startswith("s3://"):
        return url
    head, _, query = url.partition("?")
    return f"{head}?{query}{'&' if query else ''}allow_delayed_open=true"


class RemoteFolder:
    """Files by path, relative to the folder, with `/` between parts.

    The empty path is what the URL names, where that is a file.

    Every method raises `InputError` where the file system refuses or does not answer.

    Args:
        url: of the folder, which need not exist.

    Raises:
        InputError: the URL cannot be understood.
        DependencyError: the URL needs a package that is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._system, root = file_system(_writing_at_once(url))
        self._root = root.rstrip("/")
        self._made: set[str] = set()

    @property
    def location(self) -> str:
        """Where it lies, to be shown."""
        return shown(self.url.partition("?")[0])

    def below(self, path: str) -> "RemoteFolder":
        """A folder in this one."""
        return RemoteFolder(join_url(self.url, path))

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.size_bytes(path) is not None

    def size_bytes(self, path: str) -> int | None:
        """A file's size; None where there is no such file."""
        info = remote(self.url, lambda: self._system.get_file_info(self._at(path)))
        return int(info.size) if info.type is fs.FileType.File else None

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """A file's first bytes; None where there is no such file."""

        def read() -> bytes | None:
            if self._system.get_file_info(self._at(path)).type is not fs.FileType.File:
                return None
            with self._system.open_input_stream(self._at(path), compression=None) as file:
                return bytes(file.read(limit_bytes))

        content: bytes | None = remote(self.url, read)
        return content

    def open(self, path: str) -> Any:
        """A file as Arrow's random access file, which fetches the ranges that are asked for."""
        return remote(self.url, lambda: self._system.open_input_file(self._at(path)))

    def get(self, path: str, target: Path) -> None:
        """Copies a file to this machine, where it appears whole."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")

        def get() -> None:
            with (
                self._system.open_input_stream(self._at(path), compression=None) as source,
                partial.open("wb") as file,
            ):
                shutil.copyfileobj(source, file, _COPY_BYTES)

        try:
            remote(self.url, get)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, path: str, source: Source | BinaryIO) -> None:
        """Writes a file: bytes, a copy of one of this machine, or what can still be read of one."""

        def put() -> None:
            place = self._at(path)
            self._make_folder(place.rpartition("/")[0])
            renamed = self._system.type_name in _WITH_RENAMES
            written = f"{place}.{uuid.uuid4().hex}.partial" if renamed else place
            try:
                with self._system.open_output_stream(written, compression=None) as target:
                    _copy(source, target)
            except BaseException:
                # Arrow takes what it has got so far for all.
                with suppress(Exception):
                    self._system.delete_file(written)
                raise
            if renamed:
                self._system.move(written, place)

        remote(self.url, put)

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; none where there is no such folder."""
        infos = self._infos(path, recursive=False)
        return sorted(info.base_name for info in infos if info.type is fs.FileType.Directory)

    def files(self, path: str = "") -> list[str]:
        """Paths of all files below a folder, relative to this one, sorted."""
        return sorted(self.sizes(path))

    def sizes(self, path: str = "") -> dict[str, int]:
        """Paths of all files below a folder, relative to this one, and their bytes."""
        infos = self._infos(path, recursive=True)
        start = len(self._root) + 1
        return {info.path[start:]: info.size for info in infos if info.type is fs.FileType.File}

    def empty(self, path: str = "") -> bool:
        """Whether there is nothing below a folder, which need not exist."""
        return not self._infos(path, recursive=False)

    def delete(self, path: str = "") -> None:
        """Deletes all below a folder, and the folder; nothing where there is none."""

        def delete() -> None:
            place = self._at(path)
            if self._system.get_file_info(place).type is fs.FileType.Directory:
                self._system.delete_dir(place)

        self._made.clear()
        remote(self.url, delete)

    def delete_file(self, path: str) -> None:
        """Deletes a file, which must exist."""
        remote(self.url, lambda: self._system.delete_file(self._at(path)))

    def _infos(self, path: str, *, recursive: bool) -> list[Any]:
        selector = fs.FileSelector(self._at(path), allow_not_found=True, recursive=recursive)
        return list(remote(self.url, lambda: self._system.get_file_info(selector)))

    def _make_folder(self, place: str) -> None:
        if self._system.type_name not in _WITHOUT_FOLDERS and place not in self._made:
            self._system.create_dir(place)
            self._made.add(place)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _copy(source: Source | BinaryIO, target: Any) -> None:
    if isinstance(source, bytes):
        target.write(source)
        return
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        shutil.copyfileobj(file, target, _COPY_BYTES)
