"""Folders of one machine for work whose result goes elsewhere."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lmserve.errors import OptionError

_LOCK = ".lock"


def machine_folder(temp_dir: Path | None) -> Path:
    """The folder for all such work of this user on this machine.

    Args:
        temp_dir: where; None is the system's folder for temporary files.

    Raises:
        OptionError: somebody else made it.
    """
    folder = (temp_dir or Path(tempfile.gettempdir())) / f"lmserve-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise OptionError(f"{folder} is another user's", "Give another --temp-dir.")
    return folder


@contextmanager
def working_folder(base: Path, prefix: str) -> Iterator[Path]:
    """A new folder while a `with` block runs.

    Those of processes that died in theirs are deleted first.

    Args:
        base: where it is made.
        prefix: of its name, which nothing else in `base` has.
    """
    for other in base.glob(f"{prefix}*"):
        _delete_dead(other)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=base) as name:
        folder = Path(name)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def link_files(source: Path, target: Path) -> None:
    """Another folder of the same files; what is written anew in it changes nothing in the first."""
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place)


def _delete_dead(folder: Path) -> None:
    # One that has no lock yet has just been made.
    with suppress(FileNotFoundError, BlockingIOError), (folder / _LOCK).open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
