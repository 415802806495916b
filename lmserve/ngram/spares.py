"""Files that are no longer needed, to be written over in place of making new ones.

What was written lately the system still holds in memory. To fetch other memory for a new file costs
twice the writing, and on virtual machines, which must ask their host for it, many times more.
"""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spares:
    """A folder of such files, which several processes may give to and take from at once."""

    folder: Path

    def give(self, path: Path) -> None:
        """Takes a file out of use, which nothing may read any more; nothing if it is gone."""
        try:
            self.folder.mkdir(exist_ok=True)
            path.rename(self.folder / uuid.uuid4().hex)
        except FileNotFoundError:
            return

    def take(self, path: Path) -> bool:
        """Gives the largest of these files a name of the caller's; False if there is none."""
        try:
            with os.scandir(self.folder) as entries:
                found = sorted((entry.stat().st_size, entry.path) for entry in entries)
        except FileNotFoundError:
            return False
        while found:
            try:
                os.rename(found.pop()[1], path)
            except FileNotFoundError:
                # Another process was faster.
                continue
            return True
        return False
