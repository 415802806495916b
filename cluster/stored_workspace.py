"""A build on machines that share nothing but a store.

Each has a folder on its own disk for what it is working on. What a task has made goes to the store,
below `OUTPUT_URL.building/` and under the same names as in the folder; what a task needs is fetched
from there, once. An object is there whole or not at all, and of a folder's files an empty object
`complete` is the last: what exists is done.

The two shuffles go through files of parts (`lmserve.ngram.parts`), so that a task fetches its own
part of what each other has made, in one request, and no more.
"""

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from cluster.build_store import BuildStore, side_by_side
from cluster.costs import Traffic
from cluster.workspace import Workspace
from lmserve.errors import BuildError
from lmserve.ngram.assembling import TableColumns, allocate_tables, columns_aside, put_in_place
from lmserve.ngram.bucket_parts import read_bucket_parts, write_bucket_parts
from lmserve.ngram.counting import records_by_shard
from lmserve.ngram.filing import SUMS_FILE, give_up_filed
from lmserve.ngram.layout import Layout
from lmserve.ngram.ordering import Arrivals
from lmserve.ngram.parts import write_parts
from lmserve.ngram.records import Records
from lmserve.ngram.sharding import Sharding
from lmserve.ngram.tables import damaged, partial_name
from lmserve.remote_folder import RemoteFolder, beside_url, join_url, name_in_url
from lmserve.store_lock import store_locked
from lmserve.text.sources import Piece

_COMPLETE, _PARTS, _NOTES = "complete", "parts", "notes"


@dataclass(frozen=True, slots=True)
class StoredWorkspace(Workspace):
    """A build's folder on one machine, and its store.

    Attributes:
        url: of the output.
        temp_dir: where each machine has its folder; None means the system's temporary folder.
        run: names this run of the build; a folder that another one left is of no use.
        store: the objects of the build.
    """

    private: ClassVar[bool] = True

    # Not shown: there may be a password in it.
    url: str = field(repr=False)
    temp_dir: Path | None
    run: str
    store: BuildStore

    @classmethod
    def open(cls, url: str, temp_dir: Path | None, run: str | None = None) -> "StoredWorkspace":
        """On the driver's machine, which names the run, or on another."""
        run = run or uuid.uuid4().hex
        where = hashlib.blake2b(url.encode(), digest_size=4).hexdigest()
        parent = Path(tempfile.gettempdir()) if temp_dir is None else temp_dir
        folder = parent / f"{name_in_url(url)}-{where}-{run}.building"
        return cls(folder, url, temp_dir, run, BuildStore(beside_url(url, ".building")))

    @property
    def where(self) -> str:
        """See `Workspace`."""
        return self.store.folder.location

    @property
    def traffic(self) -> Traffic:
        """See `Workspace`."""
        return self.store.traffic

    def opener(self) -> Callable[[], Workspace]:
        """See `Workspace`."""
        return partial(_open_ready, self.url, self.temp_dir, self.run)

    def make_ready(self) -> None:
        """Makes the folder on this machine, in place of those that dead builds have left."""
        others = escape(self.folder.name.removesuffix(f"{self.run}.building"))
        for left in self.folder.parent.glob(f"{others}*.building"):
            if left != self.folder:
                shutil.rmtree(left, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.create_folders()

    def check_seen(self) -> None:
        """Nothing: who cannot reach the store says so when it tries."""

    def planned(self) -> bool:
        """See `Workspace`."""
        return self.store.folder.exists(self._key(self.plan_file))

    def undone(self, outputs: Iterable[Path]) -> list[Path]:
        """See `Workspace`."""
        keys = {output: self._mark(output) for output in outputs}
        if len(keys) == 1:
            return [output for output, key in keys.items() if not self.store.folder.exists(key)]
        parents = {self._key(output.parent) for output in keys}
        there = {key for parent in parents for key in self.store.folder.sizes(parent)}
        return [output for output, key in keys.items() if key not in there]

    def need(self, *paths: Path) -> None:
        """See `Workspace`."""
        wanted: list[Path] = []
        for path in paths:
            if path.suffix:
                wanted.append(path)
            else:
                below = self.store.folder.files(self._key(path))
                wanted += [self.folder / key for key in below if not key.endswith(_COMPLETE)]
        missing = [path for path in wanted if not path.exists()]
        self.store.fetch([(self._key(path), path) for path in missing])

    def share(self, *outputs: Path) -> None:
        """See `Workspace`."""
        for output in outputs:
            if output.is_dir():
                self._share_folder(output, {path.name: path for path in output.iterdir()})
            else:
                self.store.share([(self._key(output), output)])

    def drop(self, *paths: Path) -> None:
        """See `Workspace`."""
        for path in paths:
            path.unlink(missing_ok=True)

    def share_records(self, piece: int, shards: int) -> None:
        """See `Workspace`; a part is a shard's."""
        records = self.records(piece)
        packed = partial_name(records)
        write_parts(packed, records_by_shard(records, shards))
        records.unlink()
        self.store.share([(self._key(records), packed)])
        packed.unlink()

    def read_records(self, pieces: int, shard: int, sharding: Sharding, columns: int) -> Records:
        """See `Workspace`."""
        records = np.empty((sharding.shards[shard].records, columns), np.uint64)
        target = records.reshape(-1).view(np.uint8)
        keys = [self._key(self.records(piece)) for piece in range(pieces)]
        opened = self.store.open_parts(keys, len(sharding))
        ends = np.cumsum([parts.size_bytes(shard) for parts in opened])
        if ends[-1] != len(target):
            raise damaged(self.records(0), f"pieces hold {ends[-1]} bytes, not {len(target)}")

        def read(piece: int) -> None:
            part = self.store.read_part(opened[piece], shard)
            target[ends[piece] - len(part) : ends[piece]] = np.frombuffer(part, np.uint8)

        side_by_side(read, range(pieces))
        return records

    def share_filed(self, folder: Path, shortest: int, longest: int) -> None:
        """See `Workspace`; a part is a bucket's."""
        packed = partial_name(folder)
        write_bucket_parts(folder, shortest, longest, packed)
        self._share_folder(folder, {_PARTS: packed, SUMS_FILE: folder / SUMS_FILE})
        packed.unlink()
        give_up_filed(folder, self.spares)

    def read_filed(
        self, folders: Sequence[tuple[Path, int]], longest: int, bucket: int, buckets: int
    ) -> list[Arrivals]:
        """See `Workspace`."""
        keys = [f"{self._key(folder)}/{_PARTS}" for folder, _ in folders]
        opened = self.store.open_parts(keys, buckets)
        parts = side_by_side(lambda parts: self.store.read_part(parts, bucket), opened)
        shortest = (shortest for _, shortest in folders)
        return read_bucket_parts(list(zip(parts, shortest, strict=True)), longest)

    def columns_for(self, bucket: Path) -> TableColumns:
        """See `Workspace`: the driver puts them into the tables."""
        return columns_aside(bucket)

    def lay_out(self, layout: Layout, key: str) -> None:
        """Nothing yet: the tables are on the driver's machine, see `collect_tables`."""

    def collect_tables(self, buckets: Sequence[Path], layout: Layout) -> None:
        """See `Workspace`."""
        allocate_tables(self.model, layout)

        def collect(bucket: Path) -> None:
            self.need(bucket)
            put_in_place(bucket, self.model)

        side_by_side(collect, buckets)

    def used_bytes(self) -> int:
        """See `Workspace`: in the store."""
        sizes = self.store.folder.sizes()
        return sum(sizes.values()) - sizes.get(self._key(self.stdin_copy), 0)

    def leave_note(self, name: str) -> None:
        """See `Workspace`."""
        self.store.folder.put(f"{_NOTES}/{name}", b"")

    def read_notes(self) -> list[str]:
        """See `Workspace`."""
        return [key.removeprefix(f"{_NOTES}/") for key in self.store.folder.files(_NOTES)]

    def forget_notes(self) -> None:
        """See `Workspace`."""
        self.store.folder.delete(_NOTES)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Workspace`."""
        with store_locked(beside_url(self.url, ".lock"), "build", BuildError):
            self.make_ready()
            yield

    def keep_stdin(self, stream: BinaryIO) -> None:
        """See `Workspace`."""
        self.store.folder.put(self._key(self.stdin_copy), stream)

    @property
    def stdin_name(self) -> str:
        """See `Workspace`."""
        return join_url(self.store.folder.url, self._key(self.stdin_copy))

    def has_stdin(self) -> bool:
        """See `Workspace`."""
        return self.store.folder.exists(self._key(self.stdin_copy))

    def save_stdin(self, output: Path) -> str:  # noqa: ARG002 - it is `url`
        """See `Workspace`."""
        kept = RemoteFolder(beside_url(self.url, ".stdin.txt"))
        kept.put("", self.store.folder.open(self._key(self.stdin_copy)))
        return kept.url

    def create(self, facts: dict[str, Any], pieces: Sequence[Piece]) -> None:
        """See `Workspace`."""
        # Slots make another class of this one, which `super` without arguments does not know.
        Workspace.create(self, facts, pieces)
        self.share(self.plan_file)

    def resume(self, facts: dict[str, Any]) -> list[Piece]:
        """See `Workspace`."""
        self.need(self.plan_file)
        return Workspace.resume(self, facts)

    def has_done_something(self) -> bool:
        """See `Workspace`."""
        pieces = self._key(self.words(0).parent)
        done = (key.endswith("-words.arrow") for key in self.store.folder.files(pieces))
        return self.has_stdin() or any(done)

    def clear(self) -> None:
        """See `Workspace`."""
        self.store.folder.delete()

    def remove(self) -> None:
        """See `Workspace`."""
        self.clear()
        self.leave()

    def leave(self) -> None:
        """See `Workspace`."""
        # Twice: a worker that was just killed may still be putting a last file in.
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _share_folder(self, folder: Path, files: Mapping[str, Path]) -> None:
        self.store.share([(self._key(folder / name), path) for name, path in files.items()])
        self.store.share([(self._mark(folder), b"")])

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _mark(self, output: Path) -> str:
        """The key of what is there when an output is: itself, or the last of a folder's files."""
        key = self._key(output)
        return key if output.suffix else f"{key}/{_COMPLETE}"


def _open_ready(url: str, temp_dir: Path | None, run: str) -> StoredWorkspace:
    files = StoredWorkspace.open(url, temp_dir, run)
    files.make_ready()
    return files
