"""What lies in an image's files that should not, and how two images' files differ."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

# Compilers, linkers, assemblers, and what fetches and builds packages; also as Debian names them.
_BUILDERS = re.compile(
    r"(?:.*-linux-gnu-)?(?:gcc|g\+\+|cc|c\+\+|cpp|clang(?:\+\+)?|tcc|ld|as|gold|rustc|cargo|go|"
    r"make|cmake|ninja|nvcc|gfortran|easy_install|git|pip(?:3(?:\.\d+)?)?)(?:-\d[\d.]*)?"
)
_CACHES = (
    "root/.cache",
    "home/lmserve/.cache",
    "var/lib/apt/lists",
    "var/cache/apt",
    "tmp",
    "build",
)
_FOR_ALL = frozenset(("tmp", "var/tmp", "run/lock"))


def unwanted(root: Path, uid: int) -> list[str]:
    """A line for each thing that has no place in the image.

    Args:
        root: its files.
        uid: of the user as whom its programs run.
    """
    found = [f"{name} has something in it" for name in _CACHES if _filled(root / name)]
    for path, status in _walk(root):
        name = str(path.relative_to(root))
        if stat.S_ISLNK(status.st_mode):
            if _BUILDERS.fullmatch(path.name):
                found.append(f"{name} builds or fetches programs")
            continue
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            continue
        if stat.S_ISREG(status.st_mode):
            if status.st_mode & 0o111 and _BUILDERS.fullmatch(path.name):
                found.append(f"{name} builds or fetches programs")
            if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                found.append(f"{name} runs with its owner's rights")
        if status.st_mode & 0o002 and name not in _FOR_ALL:
            found.append(f"{name} can be written by everybody")
        if status.st_uid == uid and not name.startswith("home/"):
            found.append(f"{name} belongs to the user")
    return found


def differences(one: Path, other: Path) -> list[str]:
    """Names of files whose content, kind, owner or permissions differ between two trees."""
    first, second = _described(one), _described(other)
    return sorted(
        name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
    )


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _described(root: Path) -> dict[str, tuple[int, int, int, str]]:
    found = {}
    for path, status in _walk(root):
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""
        entry = (status.st_mode, status.st_uid, status.st_gid, content)
        found[str(path.relative_to(root))] = entry
    return found


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield path, path.lstat()
