"""Files that are no longer needed, to be written over in place of making new ones.

What was written lately the system still holds in memory. To fetch other memory for a new file costs
twice the writing, and on virtual machines, which must ask their host for it, many times more.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spares:
    """A folder of such files, which several processes may give to and take from at once."""

    folder: Path

    def give(self, path: Path) -> None:
        """Takes a file out of use, if it is there, from which all has been made that was wanted.

        Who should still read it, such as a worker that was taken for dead and is not, reads what
        it has no use for: the name of what it makes is taken.
        """
        self.folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            path.rename(self.folder / uuid.uuid4().hex)

    def take(self, path: Path) -> bool:
        """Gives the largest of these files a name of the caller's; False if there is none."""
        sizes: dict[Path, int] = {}
        for spare in self.folder.glob("*"):
            # Another process may be faster, here and below.
            with suppress(OSError):
                sizes[spare] = spare.stat().st_size
        for spare in sorted(sizes, key=lambda spare: -sizes[spare]):
            with suppress(OSError):
                spare.rename(path)
                return True
        return False

    def clear(self) -> None:
        """Deletes them."""
        for spare in self.folder.glob("*"):
            spare.unlink(missing_ok=True)
