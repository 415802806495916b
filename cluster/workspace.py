"""The folder in which a build keeps what it has done, so that it can be continued.

Here it is one that all machines of a build see: what a task leaves in it, others find, and nothing
needs to be sent. `cluster.stored_workspace` is the twin for machines that share only a store.
"""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.build_files import BuildFiles
from cluster.costs import Traffic
from lmserve.errors import BuildError, CorruptModelError
from lmserve.ngram.assembling import TableColumns, allocate_tables, table_columns
from lmserve.ngram.counting import read_records
from lmserve.ngram.filing import fetch
from lmserve.ngram.layout import Layout
from lmserve.ngram.ordering import Arrivals
from lmserve.ngram.records import Records
from lmserve.ngram.sharding import Sharding
from lmserve.ngram.tables import open_batches, partial_name
from lmserve.removing import remove, unfinished
from lmserve.text.sources import Piece, shown


@dataclass(frozen=True, slots=True)
class Workspace(BuildFiles):
    """A build's folder, which all who work on the build see."""

    # Whether each machine has a folder of its own, and results go through a store.
    private: ClassVar[bool] = False

    @property
    def where(self) -> str:
        """The place of what is done, for people."""
        return str(self.folder)

    @property
    def traffic(self) -> Traffic:
        """What this process has moved to and from a store: nothing."""
        return Traffic()

    def opener(self) -> "Callable[[], Workspace]":
        """What opens it on another machine; can be pickled."""
        return partial(Workspace, self.folder)

    def check_seen(self) -> None:
        """Raises `BuildError` on a machine that does not see the folder."""
        if not self.plan_file.exists():
            raise unseen(self, socket.gethostname())

    def planned(self) -> bool:
        """Whether there is an unfinished build."""
        return self.plan_file.is_file()

    def undone(self, outputs: Iterable[Path]) -> list[Path]:
        """Those of some outputs of tasks, files or folders, that there are not yet."""
        return [output for output in outputs if not output.exists()]

    def need(self, *paths: Path) -> None:
        """Sees to it that files that were shared, or the files of folders, are on this machine."""

    def share(self, *outputs: Path) -> None:
        """Gives others what was made here: files, and folders, in this order."""

    def drop(self, *paths: Path) -> None:
        """Says that files are not needed any more on this machine, though they may be on others."""

    def share_records(self, piece: int, shards: int) -> None:
        """Gives others the records of a piece, which `scatter_piece` has written."""

    def read_records(self, pieces: int, shard: int, sharding: Sharding, columns: int) -> Records:
        """All records of one shard: uint64 [N, columns], in the order of the text."""
        paths = [self.records(piece) for piece in range(pieces)]
        return read_records(paths, shard, sharding, columns)

    def share_filed(self, folder: Path, shortest: int, longest: int) -> None:
        """Gives others the contexts that `filing` has filed in a folder."""

    def read_filed(
        self,
        folders: Sequence[tuple[Path, int]],
        longest: int,
        bucket: int,
        buckets: int,  # noqa: ARG002 - for who must ask where each begins
    ) -> list[Arrivals]:
        """The contexts of 1, 2, ... words of one bucket of so many; see `filing.fetch`."""
        return fetch(folders, longest, bucket)

    def columns_for(self, bucket: Path) -> TableColumns:  # noqa: ARG002 - all go to one place
        """Where the rows of a bucket go, given its folder."""
        return table_columns(self.model)

    def lay_out(self, layout: Layout, key: str) -> None:
        """Makes the tables that buckets are put into, if there are none for what `key` stands for.

        What was put into older ones is not in these.
        """
        marker = self.laid_out(key)
        if not marker.exists():
            for path in [*self.folder.glob("laid-out-*"), *self.folder.glob("shards/bucket-*")]:
                remove(path)
            allocate_tables(self.model, layout)
            marker.touch()

    def collect_tables(self, buckets: Sequence[Path], layout: Layout) -> None:
        """Sees to it that all buckets are in the model's tables on this machine."""

    def used_bytes(self) -> int:
        """What it takes, without a copy of standard input; also while it changes."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                if path != self.stdin_copy:
                    with suppress(FileNotFoundError):
                        total += path.stat().st_size
        return total

    def leave_note(self, name: str) -> None:
        """Leaves a note for the driver; nothing on a machine that does not see the folder."""
        if self.folder.is_dir():
            self.notes.mkdir(exist_ok=True)
            (self.notes / name).touch()

    def read_notes(self) -> list[str]:
        """The names of all notes."""
        return [path.name for path in self.notes.iterdir()] if self.notes.is_dir() else []

    def forget_notes(self) -> None:
        """Those of workers of a build that was stopped, which are gone."""
        for name in self.read_notes():
            (self.notes / name).unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and keeps other builds out of it while the block runs.

        Raises:
            BuildError: another build is at work in it, or it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise BuildError(
                f"the folder {str(self.folder)!r} cannot be made: {error}",
                "Give an --output, or a --temp-dir, in a folder that exists and may be written to.",
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BuildError(
                    f"another build is at work in {str(self.folder)!r}",
                    "Wait until it has ended, or give another --output.",
                ) from error
            yield

    def keep_stdin(self, stream: BinaryIO) -> None:
        """Copies standard input, because it cannot be read twice."""
        with self.stdin_copy.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)

    @property
    def stdin_name(self) -> str:
        """The name of that copy, by which all machines read it."""
        return str(self.stdin_copy)

    def has_stdin(self) -> bool:
        """Whether there is such a copy."""
        return self.stdin_copy.exists()

    def save_stdin(self, output: Path) -> str:
        """Moves the copy beside an output that will never be, and tells its name there."""
        kept = output.with_name(output.name + ".stdin.txt")
        shutil.move(self.stdin_copy, kept)
        return str(kept)

    def create_folders(self) -> None:
        """Makes the folders."""
        for name in ("pieces", "shards", "model"):
            (self.folder / name).mkdir(exist_ok=True)

    def create(self, facts: dict[str, Any], pieces: Sequence[Piece]) -> None:
        """Writes the plan, last: from here on the build can be resumed."""
        write_json(self.plan_file, {"facts": facts, "pieces": [asdict(p) for p in pieces]})

    def resume(self, facts: dict[str, Any]) -> list[Piece]:
        """The pieces of an unfinished build; throws away what is not complete.

        Raises:
            BuildError: it was of another text, with other settings, or by another lmserve.
        """
        plan = json.loads(self.plan_file.read_text())
        for name, value in facts.items():
            if plan["facts"].get(name) != value:
                raise BuildError(
                    f"the unfinished build in {self.where!r} had {name} = "
                    + shown(f"{plan['facts'].get(name)!r}, now it is {value!r}"),
                    f"Repeat the command as it was, or delete {self.where!r} and start anew.",
                )
        for path in [*unfinished(self.folder), *self._damaged()]:
            remove(path)
        return [Piece(**piece) for piece in plan["pieces"]]

    def planned_inputs(self) -> list[list[Any]]:
        """Path, size in bytes and time of change, in ns, of each input, as they were planned."""
        inputs: list[list[Any]] = json.loads(self.plan_file.read_text())["facts"]["input"]
        return inputs

    def has_done_something(self) -> bool:
        """Whether there is anything in it that it took time to make."""
        return self.has_stdin() or any(self.folder.glob("pieces/*-words.arrow"))

    def forget_counts(self, shard: int, key: str) -> None:
        """Before a shard is counted anew."""
        remove(self.counts(shard, key))

    def clear(self) -> None:
        """Deletes what is in the folder but for the lock."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                remove(path)

    def remove(self) -> None:
        """Deletes the folder."""
        # A worker that was just killed may still be putting a last file in.
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def leave(self) -> None:
        """Called on each machine when a build ends, however it does: nothing private remains."""

    def _damaged(self) -> Iterator[Path]:
        """Pieces and shards that a crash of the machine has left with a name but not whole."""
        for path in (self.folder / "pieces").glob("*.arrow"):
            if not _readable(path):
                yield path
        for path in (self.folder / "shards").iterdir():
            if not _readable(path):
                yield path


def unseen(files: Workspace, host: str) -> BuildError:
    """The error for a machine that does not see a build's folder."""
    return BuildError(
        f"the machine {host} does not see {files.where!r}: it is on another machine",
        "On several machines, give an --output that all of them reach: a URL such as "
        "s3://bucket/model, or a folder on storage that they share.",
    )


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is there whole or not at all."""
    partial = partial_name(path)
    partial.write_text(json.dumps(content, indent=1))
    partial.rename(path)


def _readable(path: Path) -> bool:
    try:
        if path.is_dir():
            return all(map(_readable, path.iterdir()))
        if path.suffix == ".parquet":
            pq.read_metadata(path)
        elif path.suffix == ".arrow":
            reader = open_batches(path)
            for i in range(reader.num_record_batches):
                reader.get_batch(i)
    except (CorruptModelError, OSError, pa.ArrowException):
        # A worker about to be killed may have given up counts that it needs no more.
        return not path.exists()
    return True
