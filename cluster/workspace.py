"""The folder in which a build keeps what it has done, so that it can be continued.

What a task leaves here has another name until it is complete, and is then renamed: what exists is
done.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lmserve.errors import BuildError, CorruptModelError
from lmserve.ngram.spares import Spares
from lmserve.ngram.tables import open_batches, partial_name
from lmserve.text.sources import Piece, shown


@dataclass(frozen=True, slots=True)
class Workspace:
    """Names of a build's files."""

    folder: Path

    @property
    def plan_file(self) -> Path:
        """What is being built, from what."""
        return self.folder / "plan.json"

    @property
    def stdin_copy(self) -> Path:
        """Standard input, kept because it cannot be read twice."""
        return self.folder / "stdin.txt"

    @property
    def shard_plan(self) -> Path:
        """The shards."""
        return self.folder / "shards.json"

    @property
    def bucket_plan(self) -> Path:
        """The ranges of first words that the model is put together by."""
        return self.folder / "buckets.json"

    @property
    def model(self) -> Path:
        """The model while it is being put together."""
        return self.folder / "model"

    @property
    def starts(self) -> Path:
        """What workers leave when they start."""
        return self.folder / "starts"

    def tokens(self, piece: int) -> Path:
        """Tokens of a piece, in the piece's own ids."""
        return self.folder / "pieces" / f"{piece:06}-tokens.arrow"

    def words(self, piece: int) -> Path:
        """Words of a piece with their counts; written after its tokens."""
        return self.folder / "pieces" / f"{piece:06}-words.arrow"

    def records(self, piece: int) -> Path:
        """n-gram records of a piece, by shard."""
        return self.folder / "pieces" / f"{piece:06}-records.arrow"

    def counts(self, shard: int, key: str) -> Path:
        """A shard counted in the way that `key` names."""
        return self.folder / "shards" / f"{shard:05}-counts-{key}"

    def smoothed(self, shard: int, key: str) -> Path:
        """A shard smoothed in the way that `key` stands for."""
        return self.folder / "shards" / f"{shard:05}-smoothed-{key}"

    @property
    def spares(self) -> Spares:
        """Files that are no longer needed."""
        return Spares(self.folder / "spares")

    @property
    def readable_words(self) -> Path:
        """The vocabulary as text."""
        return self.folder / "shards" / "readable-words.arrow"

    def exported(self, shard: int) -> Path:
        """The n-grams of a shard as Parquet."""
        return self.folder / "shards" / f"{shard:05}-exported"

    def survey(self, piece: int, key: str) -> Path:
        """What records of the contexts that `key` stands for go on with in a piece."""
        return self.folder / "pieces" / f"{piece:06}-survey-{key}.arrow"

    def parent(self, number: int, key: str) -> Path:
        """Words and probabilities after a context that shards share."""
        return self.folder / "shards" / f"parent-{number}-{key}.arrow"

    def shared(self, number: int, key: str) -> Path:
        """A context that shards share, filed as they are."""
        return self.folder / "shards" / f"shared-{number}-{key}"

    def bucket(self, number: int, key: str) -> Path:
        """What a bucket of the model leaves to be put together."""
        return self.folder / "shards" / f"bucket-{number}-{key}"

    def laid_out(self, key: str) -> Path:
        """Marks that the model's tables are laid out for what `key` stands for."""
        return self.folder / f"laid-out-{key}"

    def forget_laid_out(self) -> None:
        """Before tables are laid out anew: what was put into the old ones is not in these."""
        for path in [*self.folder.glob("laid-out-*"), *self.folder.glob("shards/bucket-*")]:
            _remove(path)

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

    def create_folders(self) -> None:
        """Makes the folders."""
        for name in ("pieces", "shards", "model"):
            (self.folder / name).mkdir()

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
                    f"the unfinished build in {str(self.folder)!r} had {name} = "
                    + shown(f"{plan['facts'].get(name)!r}, now it is {value!r}"),
                    f"Repeat the command as it was, or delete {str(self.folder)!r} and start anew.",
                )
        for path in [*self.folder.rglob("*.partial"), *self._damaged()]:
            _remove(path)
        return [Piece(**piece) for piece in plan["pieces"]]

    def planned_inputs(self) -> list[list[Any]]:
        """Path, size in bytes and time of change, in ns, of each input, as they were planned."""
        inputs: list[list[Any]] = json.loads(self.plan_file.read_text())["facts"]["input"]
        return inputs

    def has_done_something(self) -> bool:
        """Whether there is anything in it that it took time to make."""
        return self.stdin_copy.exists() or any(self.folder.glob("pieces/*-words.arrow"))

    def forget_counts(self, shard: int, key: str) -> None:
        """Before a shard is counted anew."""
        _remove(self.counts(shard, key))

    def clear(self) -> None:
        """Deletes what is in the folder but for the lock."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                _remove(path)

    def remove(self) -> None:
        """Deletes the folder."""
        # A worker that was just killed may still be putting a last file in.
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _damaged(self) -> Iterator[Path]:
        """Pieces and shards that a crash of the machine has left with a name but not whole."""
        for path in (self.folder / "pieces").glob("*.arrow"):
            if not _readable(path):
                yield path
        for path in (self.folder / "shards").iterdir():
            if not all(map(_readable, path.iterdir() if path.is_dir() else [path])):
                yield path


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is there whole or not at all."""
    partial = partial_name(path)
    partial.write_text(json.dumps(content, indent=1))
    partial.rename(path)


def _readable(path: Path) -> bool:
    try:
        if path.suffix == ".parquet":
            pq.read_metadata(path)
        elif path.suffix == ".arrow":
            reader = open_batches(path)
            for i in range(reader.num_record_batches):
                reader.get_batch(i)
    except (CorruptModelError, OSError, pa.ArrowException):
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        # What has its name counts as complete: it loses the name before it loses its files.
        partial = path if path.suffix == ".partial" else path.rename(partial_name(path))
        shutil.rmtree(partial)
    else:
        path.unlink(missing_ok=True)
