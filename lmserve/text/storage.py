"""Files by name, wherever they are: paths of this machine, and URLs of other file systems.

`s3://`, `gs://`, `hdfs://`, `file://` and what else Arrow knows are opened by Arrow; for other
schemes, `https://` for instance, fsspec has packages. Who may read is each system's own affair:
credentials come from its environment variables and files.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from lmserve.errors import DependencyError, InputError, LmserveError

STDIN = "-"
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

# One request to a remote file system asks for this much.
_REMOTE_READ_BYTES = 4 << 20
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_ARROW_SCHEMES = frozenset({"file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"})
_DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStat:
    """How to tell that a file is the one it was.

    Attributes:
        size_bytes: its size; None where a server does not say.
        changed_ns: time of its last change, in ns since 1970; None where a server does not say.
    """

    size_bytes: int | None
    changed_ns: int | None


def is_url(name: str) -> bool:
    """Whether a name is that of a file elsewhere: `s3://bucket/key`, `https://host/path`."""
    return _SCHEME.match(name) is not None


def shown(text: str) -> str:
    """A name, or what says something about it, without the users and passwords of its URLs."""
    return re.sub(r"([a-zA-Z0-9+.-]+://)[^/?#\s]*@", r"\1", text)


def plain_path(name: str) -> str:
    """A name's path, which ends in its suffixes; that of a URL without its query."""
    return urlsplit(name).path if is_url(name) else name


def is_pipe(name: str) -> bool:
    """Whether it can be read only once: standard input, a FIFO, a device."""
    if is_url(name):
        return False
    return name == STDIN or (os.path.exists(name) and not os.path.isfile(name))


def file_stat(name: str) -> FileStat:
    """Size and time of change of a file.

    Raises:
        InputError: it is not there, or may not be read.
    """
    if not is_url(name):
        try:
            stat = Path(name).stat()
        except OSError as error:
            raise unreadable(name, error) from error
        return FileStat(size_bytes=stat.st_size, changed_ns=stat.st_mtime_ns)
    system, path = file_system(name)
    info = remote(name, lambda: system.get_file_info(path))
    if info.type is not fs.FileType.File:
        raise InputError(
            f"no such input file: {shown(name)!r} ({info.type.name})",
            "Check the URL, and that its file system is the one meant; of a folder, name the "
            "files: 's3://bucket/folder/*.txt'.",
        )
    return FileStat(size_bytes=info.size, changed_ns=info.mtime_ns)


def open_binary(name: str) -> BinaryIO:
    """Opens a file for reading, decompressing by its suffix (.gz, .bz2, .xz, .zst).

    Raises:
        InputError: standard input is closed, or a URL cannot be opened.
    """
    if name == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed", "Pipe text into it, or name a file.")
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    suffix = Path(plain_path(name)).suffix
    if suffix == ".zst":
        compressed = open_remote(name) if is_url(name) else pa.OSFile(name, "rb")
        return cast(BinaryIO, pa.CompressedInputStream(compressed, "zstd"))
    if is_url(name):
        file = io.BufferedReader(open_remote(name), _REMOTE_READ_BYTES)
        return cast(BinaryIO, _DECOMPRESSORS[suffix](file) if suffix in _DECOMPRESSORS else file)
    if suffix in _DECOMPRESSORS:
        return cast(BinaryIO, _DECOMPRESSORS[suffix](name))
    # Pipes unbuffered: they then give what is there, without waiting for more.
    return open(name, "rb", buffering=0) if is_pipe(name) else open(name, "rb")


def open_remote(name: str) -> Any:
    """The Arrow file of a URL, which reads the ranges that are asked for."""
    system, path = file_system(name)
    return remote(name, lambda: system.open_input_file(path))


def file_system(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URL and the path in it.

    Raises:
        DependencyError: the scheme needs a package that is not installed.
        InputError: the URL cannot be understood.
    """
    scheme = url.split("://", 1)[0].lower()
    if scheme == "s3" and (urlsplit(url).username or "AWS_ACCESS_KEY_ID" in os.environ):
        # Who has keys needs none of what Amazon's own machines would be asked for: elsewhere, the
        # question alone takes some seconds for each client.
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    if scheme in _ARROW_SCHEMES:
        return cast(tuple[fs.FileSystem, str], remote(url, lambda: fs.FileSystem.from_uri(url)))
    try:
        import fsspec
    except ImportError as error:
        raise DependencyError(
            f"{shown(url)}: {scheme}:// needs the package fsspec, which is not installed",
            "Install it: pip install 'lmserve[remote]'.",
        ) from error
    system, path = remote(url, lambda: fsspec.core.url_to_fs(url))
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def remote(name: str, call: Callable[[], Any]) -> Any:
    """Does something with a URL; whatever its file system raises becomes an error with a remedy.

    Raises:
        InputError: it failed.
        DependencyError: fsspec lacks the package for this scheme.
    """
    try:
        return call()
    except LmserveError:
        raise
    except ImportError as error:
        raise DependencyError(
            shown(f"{name}: {error}"), "Install the package that it names with pip."
        ) from error
    except Exception as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: Exception) -> InputError:
    """The error for a file that cannot be opened or read."""
    remedy = "Check its name and permissions."
    if is_url(name):
        remedy = (
            "Check the URL, the network and the credentials, which come from the environment: "
            "AWS_*, GOOGLE_APPLICATION_CREDENTIALS and the like."
        )
    problem = f"cannot read {name}: {str(error) or type(error).__name__}"
    return InputError(shown(problem), remedy)
