"""What dead processes counted, put together, so that restarts don't fill the node's folder.

Whoever does it may be killed at any point: nothing is lost and nothing is counted twice.
"""

import fcntl
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lmserve.metrics import membership
from lmserve.metrics.damage import is_whole
from lmserve.metrics.value_files import (
    RETIRED,
    Retired,
    ValueFile,
    newest_retired,
    retired_generations,
    value_files,
    values_in,
    write_names,
    write_values,
)

# How long a dead process's last values are told, so that Prometheus sees those of short jobs.
LATEST_S = 15 * 60.0
_PARTIAL = "partial"


def retire_the_dead(folder: Path) -> None:
    """Puts together what dead processes counted, and removes their files.

    Where another process is at it, this one leaves it to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder) as alone:
        if alone:
            _finish(folder)
            _retire(folder)


def _finish(folder: Path) -> None:
    """Removes what whoever was killed at it left."""
    shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
    retired = newest_retired(folder)
    for file in value_files(folder):
        if file.is_counted and file.process in retired.names:
            file.path.unlink()
    for generation in retired_generations(folder):
        if generation < retired.generation:
            shutil.rmtree(folder / f"{RETIRED}{generation}")


def _retire(folder: Path) -> None:
    dead = [file for file in _files_of_the_dead(folder) if not _set_aside(file)]
    if counted := [file for file in dead if file.is_counted]:
        _put_together(folder, newest_retired(folder), counted)
        _finish(folder)
    for file in dead:
        if file.is_live or (not file.is_counted and _is_old(file)):
            file.path.unlink()
    membership.bury(folder)


def _files_of_the_dead(folder: Path) -> list[ValueFile]:
    # Whoever has a file has lived, so that it is dead if it doesn't live now; of those that come to
    # life just now, nothing is known yet. Of the dead, the files are then complete.
    lived = {file.process for file in value_files(folder)}
    dead = lived - membership.living(folder).keys()
    return [file for file in value_files(folder) if file.process in dead]


def _set_aside(file: ValueFile) -> bool:
    """Renames a file that cannot be read, and says whether it did; people may look into it."""
    if not file.path.stat().st_size or is_whole(file.path):
        return False
    file.path.rename(file.path.with_suffix(".damaged"))
    return True


def _is_old(file: ValueFile) -> bool:
    """Whether a dead process's last values need not be told any more."""
    last_s = max((set_s for _, _, set_s in values_in(file.path)), default=0.0)
    return last_s < time.time() - LATEST_S


def _put_together(folder: Path, before: Retired, dead: Sequence[ValueFile]) -> None:
    partial = folder / _PARTIAL
    partial.mkdir(mode=0o700)
    for kind in ("counter", "histogram"):
        name = f"{kind}_retired.db"
        sums: defaultdict[str, float] = defaultdict(float)
        sums_before = [path for path in before.files(name) if is_whole(path)]
        for path in [*sums_before, *(file.path for file in dead if file.kind == kind)]:
            for key, value, _ in values_in(path):
                sums[key] += value
        if sums:
            write_values(partial / name, sums)
    write_names(partial, {file.process for file in dead})
    partial.rename(before.next_folder)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process is at it; none begins while the block runs."""
    descriptor = os.open(folder / "retiring.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
