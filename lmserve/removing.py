"""Deleting what a job has left in its folder, though somebody may be writing there still.

When a job's own process is killed, Ray ends its workers, but not at once: for a moment they go on
to make files, to give them their names, and to delete their own.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lmserve.ngram.tables import PARTIAL, partial_name

# A folder may get a file while its files are deleted, or lose one; that comes to an end.
_TRIES = 5


def unfinished(folder: Path) -> Iterator[Path]:
    """The files and folders anywhere in a folder that are not complete, the outermost of them."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in [*folders, *files] if name.endswith(PARTIAL))
        folders[:] = [name for name in folders if not name.endswith(PARTIAL)]


def remove(path: Path) -> None:
    """Deletes a file or a folder; nothing if it is gone.

    Raises:
        OSError: it cannot be deleted. A folder has lost its name by then.
    """
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # What has its name counts as complete, so it loses the name before it loses its files; and who
    # was about to give a folder its name does not find it any more.
    condemned = partial_name(path.with_name("removed"))
    try:
        path.rename(condemned)
    except FileNotFoundError:
        return
    for _ in range(_TRIES):
        shutil.rmtree(condemned, ignore_errors=True)
        if not condemned.exists():
            return
    shutil.rmtree(condemned)
