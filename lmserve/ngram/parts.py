"""Parts of a file, one after the other: what a task leaves to many others, of which each reads one.

    part 0 | part 1 | ... | part N - 1 | int64 [N + 1], where each part begins and the last one ends

Where files are read by ranges, from a store on the network, a part is one request.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmserve.ngram.tables import damaged

Array = npt.NDArray[Any]
_OFFSET_BYTES = 8


def write_parts(path: Path, parts: Iterable[Iterable[Array]]) -> None:
    """Writes a file of parts.

    Args:
        path: of the file.
        parts: each of them arrays, whose bytes follow one another.
    """
    offsets = [0]
    with path.open("wb") as file:
        for arrays in parts:
            for array in arrays:
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            offsets.append(file.tell())
        file.write(np.array(offsets, np.int64).data)


class Parts:
    """Reads parts of a file that `write_parts` wrote.

    Attributes:
        index_bytes: of the offsets, which are read at once.

    Args:
        file: Arrow's random access file, of which several threads may read at once.
        name: of the file, for errors.
        count: how many parts it has.

    Raises:
        CorruptModelError: it is not such a file.
    """

    def __init__(self, file: Any, name: str, count: int) -> None:
        self._file = file
        self._name = Path(name)
        size_bytes = int(file.size())
        self.index_bytes = (count + 1) * _OFFSET_BYTES
        index = file.read_at(self.index_bytes, max(size_bytes - self.index_bytes, 0))
        self._offsets = np.frombuffer(index[: len(index) & -_OFFSET_BYTES], np.int64)
        if len(self._offsets) != count + 1 or self._offsets[-1] + self.index_bytes != size_bytes:
            raise damaged(self._name, f"it has not {count} parts")

    def size_bytes(self, number: int) -> int:
        """The size of a part."""
        return int(self._offsets[number + 1] - self._offsets[number])

    def read(self, number: int) -> bytes:
        """A part.

        Raises:
            CorruptModelError: the file ends before it does.
        """
        size_bytes = self.size_bytes(number)
        part = bytes(self._file.read_at(size_bytes, int(self._offsets[number])))
        if len(part) != size_bytes:
            raise damaged(self._name, "it ends too early")
        return part
