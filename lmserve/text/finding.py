"""Input files by name and pattern, on this machine and elsewhere."""

import glob
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from pyarrow import fs

from lmserve.errors import InputError
from lmserve.text.storage import STDIN, file_stat, file_system, is_url, remote, shown


def find_files(inputs: Iterable[str]) -> list[str]:
    """Resolves files, URLs and glob patterns, keeping the given order (matches of a glob sorted).

    `-` stands for standard input. FIFOs and devices, such as `/dev/stdin` and a shell's `<(...)`,
    keep their names. In a URL, `*`, `[...]` and `**` are patterns; `?` begins its query.

    Returns:
        Absolute paths, URLs, and `-`.

    Raises:
        InputError: nothing matches, or a name is a folder.
        DependencyError: a URL needs a package that is not installed.
    """
    files: list[str] = []
    for name in inputs:
        if name == STDIN:
            files.append(STDIN)
        elif is_url(name):
            files += _find_remote(name)
        else:
            files += _find_local(name)
    return files


def require_regular(files: Iterable[str]) -> None:
    """Refuses what cannot be read again or by another process: pipes, FIFOs and devices.

    Raises:
        InputError: one of the files is none that other processes find on disk.
    """
    for name in files:
        if not is_url(name) and not Path(name).resolve().is_file():
            raise InputError(
                f"{name!r} is a pipe or a device, which can be read only once and only by the "
                "process that was given it",
                "Give its text on standard input, of which a copy is kept: "
                "... | lmserve build - --output MODEL.",
            )


def _find_local(name: str) -> list[str]:
    matches = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
    if not matches:
        raise InputError(
            f"no such input file: {name!r} (looked in {Path.cwd()})",
            "Check the spelling and the current folder; quote patterns such as 'text/*.gz'.",
        )
    files = []
    for match in matches:
        if os.path.isdir(match):
            raise InputError(
                f"{match!r} is a folder, not a text file",
                f"Name the files in it, for example '{match.rstrip('/')}/*.txt'.",
            )
        # A pipe's link resolves to what is no path: /proc/1/fd/pipe:[2].
        file = Path(match).resolve()
        files.append(str(file) if file.is_file() else os.path.abspath(match))
    return files


def _find_remote(url: str) -> list[str]:
    address, mark, query = url.partition("?")
    scheme, _, path = address.partition("://")
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if "*" in part or "[" in part), None)
    if first is None:
        file_stat(url)
        return [url]
    folder = f"{scheme}://{'/'.join(parts[:first])}"
    system, root = file_system(folder + mark + query)
    patterns = parts[first:]
    recursive = len(patterns) > 1 or "**" in patterns
    selector = fs.FileSelector(root, recursive=recursive, allow_not_found=True)
    found = []
    for info in remote(url, lambda: system.get_file_info(selector)):
        inside = info.path.removeprefix(root).strip("/")
        if info.type is fs.FileType.File and _matches(inside.split("/"), patterns):
            found.append(f"{folder}/{quote(inside)}{mark}{query}")
    if not found:
        raise InputError(
            f"no file matches {shown(url)!r}",
            "Check the URL; '*' stands for part of a name, '**' for any number of folders.",
        )
    return sorted(found)


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
