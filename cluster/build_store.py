"""What machines of a build exchange through an object store: whole files, and parts of files.

A store answers each request after some hundredths of a second and many at once: whatever there is
several of goes side by side.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from cluster.costs import Traffic
from lmserve.ngram.parts import Parts
from lmserve.remote_folder import RemoteFolder, Source
from lmserve.text.storage import remote

_AT_ONCE = 16
# Files of parts whose indexes a process remembers.
_MAX_OPEN = 1 << 12

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Calls a function, which waits for a network, for many items at once; results in their order.

    Raises:
        Exception: whatever the first call to fail did; those begun are waited for.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        waiting = [threads.submit(call, item) for item in items]
        try:
            return [result.result() for result in waiting]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


class BuildStore:
    """A folder of an object store with what this process has moved to and from it.

    Args:
        url: of the folder.
    """

    def __init__(self, url: str) -> None:
        self.folder = RemoteFolder(url)
        self.traffic = Traffic()
        self._open = lru_cache(maxsize=_MAX_OPEN)(self._open_parts)

    def fetch(self, files: Sequence[tuple[str, Path]]) -> None:
        """Copies files to this machine, each of which appears there whole: key, target."""

        def get(file: tuple[str, Path]) -> None:
            key, target = file
            self.folder.get(key, target)
            self.traffic.add(fetched=target.stat().st_size)

        side_by_side(get, files)

    def share(self, files: Sequence[tuple[str, Source]]) -> None:
        """Writes objects, in no order: key, source."""

        def put(file: tuple[str, Source]) -> None:
            key, source = file
            self.folder.put(key, source)
            size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
            self.traffic.add(shared=size_bytes)

        side_by_side(put, files)

    def open_parts(self, keys: Sequence[str], count: int) -> list[Parts]:
        """Opens files of so many parts; their indexes are fetched once."""
        return side_by_side(lambda key: self._open(key, count), keys)

    def read_part(self, parts: Parts, number: int) -> bytes:
        """A part, fetched by a request for just its range."""
        if parts.size_bytes(number) == 0:
            return b""
        content: bytes = remote(self.folder.url, lambda: parts.read(number))
        self.traffic.add(fetched=len(content))
        return content

    def _open_parts(self, key: str, count: int) -> Parts:
        def open_parts() -> Parts:
            return Parts(self.folder.open(key), f"{self.folder.location}/{key}", count)

        parts: Parts = remote(self.folder.url, open_parts)
        self.traffic.add(fetched=parts.index_bytes)
        return parts
