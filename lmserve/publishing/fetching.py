"""Models that lie elsewhere as folders of this machine: versions of a model directory."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lmserve.errors import CorruptModelError
from lmserve.large_pages import leave_to_large_pages
from lmserve.ngram.hash_index import INDEX_FILE
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import file_record
from lmserve.publishing.records import FileRecord, Published
from lmserve.publishing.stores import LocalStore, RemoteStore

# Of each name, so many fetched versions stay: that being served, that before, that being fetched.
_KEPT = 3


def default_cache() -> Path:
    """Where fetched models are kept: `$XDG_CACHE_HOME/lmserve/models`, or `~/.cache/...`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lmserve" / "models"


def local_folder(
    directory: ModelDirectory, name: str, version: str, published: Published, cache: Path
) -> Path:
    """A version's folder on this machine: its own, or a copy that is fetched once.

    Copies of one version are the same folder for all processes that name the same cache; the
    oldest are deleted, which takes nothing from who has them open.

    Args:
        directory: where the version is.
        name: of the model.
        version: which.
        published: what it holds.
        cache: folder for copies.

    Raises:
        InputError: a file cannot be fetched.
        CorruptModelError: it is not the one that was published.
    """
    if isinstance(directory.store, LocalStore):
        return directory.store.root / name / version
    # Another model under the same name and version, of another bucket for instance, is another.
    target = cache / name / f"{version}-{published.digest}"
    return fetched_once(target, partial(_fetch, directory.store, f"{name}/{version}", published))


def fetched_once(target: Path, fetch: Callable[[Path], None]) -> Path:
    """A folder of a cache, which is filled by the first process that asks for it.

    Of the folders beside it, those fetched last stay; the others are deleted.

    Args:
        target: the folder; it appears when it is complete.
        fetch: fills a folder, which it makes.

    Returns:
        `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
            try:
                fetch(unfinished)
                for index in unfinished.rglob(INDEX_FILE):
                    leave_to_large_pages(index)
                unfinished.rename(target)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            _forget(target.parent)
    return target


def _fetch(store: RemoteStore, path: str, published: Published, target: Path) -> None:
    for name, record in published.files.items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        store.get(f"{path}/{name}", file)
        _check(file, record, f"{store.location}/{path}/{name}")


def _check(file: Path, expected: FileRecord, place: str) -> None:
    found = file_record(file)
    if found != expected:
        raise CorruptModelError(
            f"{place} has {found.size_bytes:,} bytes with the SHA-256 {found.sha256[:16]}..., "
            f"published were {expected.size_bytes:,} with {expected.sha256[:16]}...",
            "Publish the model again as another version.",
        )


def _forget(folder: Path) -> None:
    """Deletes all but the versions fetched last."""
    versions = [path for path in folder.iterdir() if not path.name.startswith(".")]
    versions.sort(key=lambda path: path.stat().st_mtime_ns)
    for path in versions[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
