"""Files mapped into memory in large pages, where the system has them.

Looks that jump about a large file wait for the addresses of its pages nearly as long as for what is
on them: the processor keeps some thousands of addresses, 8 MB worth of small pages. Linux maps a
file by 2 MB where it read it so, which it does for mappings that ask for it, on file systems that
can (XFS, ext4 since Linux 6.16). What was in memory before, in small pieces, stays so until it is
dropped. Elsewhere pages are small as before, and what was dropped is read again.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path

_LARGE_BYTES = 2 << 20


def map_file(path: Path) -> mmap.mmap:
    """Maps a file, for reading.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(mapped) >= _LARGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        # A system that was built without refuses.
        with suppress(OSError):
            mapped.madvise(mmap.MADV_HUGEPAGE)
    return mapped


def leave_to_large_pages(path: Path) -> None:
    """Writes a new file to the disk and drops it from memory, so that it is read in large pages.

    What is mapped isn't dropped. Where the file system refuses, the file stays as it is.
    """
    with suppress(OSError), path.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
