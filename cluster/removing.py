"""Deleting what a build has left in its folder, though somebody may be writing there still.

When a build's own process is killed, Ray ends its workers, but not at once: for a moment they go on
to make files, to give them their names, and to delete their own.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lmserve.ngram.tables import PARTIAL, partial_name


def unfinished(folder: Path) -> Iterator[Path]:
    """The files and folders anywhere in a folder that are not complete, the outermost of them."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in [*folders, *files] if name.endswith(PARTIAL))
        folders[:] = [name for name in folders if not name.endswith(PARTIAL)]


def remove(path: Path) -> None:
    """Deletes a file or a folder; nothing if it is gone.

    Raises:
        OSError: it cannot be deleted.
    """
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # What has its name counts as complete, so it loses the name before it loses its files; and who
    # was about to give a folder its name does not find it any more.
    condemned = partial_name(path)
    try:
        path.rename(condemned)
    except FileNotFoundError:
        return
    shutil.rmtree(condemned)
