"""The folder in which a build keeps what it has done, so that it can be continued.

Every file here is written under another name and renamed when complete; what exists is done.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lmserve.errors import BuildError
from lmserve.text.sources import Piece


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
        """Where the shards begin."""
        return self.folder / "shards.arrow"

    @property
    def unigrams(self) -> Path:
        """Probabilities of single words."""
        return self.folder / "unigrams.arrow"

    @property
    def model(self) -> Path:
        """The model while it is being put together."""
        return self.folder / "model"

    def tokens(self, piece: int) -> Path:
        """Tokens of a piece, in the piece's own ids."""
        return self.folder / "pieces" / f"{piece:06}-tokens.arrow"

    def words(self, piece: int) -> Path:
        """Words of a piece with their counts; written after its tokens."""
        return self.folder / "pieces" / f"{piece:06}-words.arrow"

    def records(self, piece: int) -> Path:
        """n-gram records of a piece, by shard."""
        return self.folder / "pieces" / f"{piece:06}-records.arrow"

    def counts(self, shard: int) -> Path:
        """A counted shard."""
        return self.folder / "shards" / f"{shard:05}-counts"

    def smoothed(self, shard: int, key: str) -> Path:
        """A shard smoothed in the way that `key` stands for."""
        return self.folder / "shards" / f"{shard:05}-smoothed-{key}"

    def new_stdin_copy(self) -> BinaryIO:
        """Opens the copy of standard input for writing."""
        self.folder.mkdir(parents=True)
        return self.stdin_copy.open("wb")

    def create(self, facts: dict[str, Any], pieces: Sequence[Piece]) -> None:
        """Makes the folders and writes the plan, last: from here on the build can be resumed."""
        for name in ("pieces", "shards", "model"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        plan = {"facts": facts, "pieces": [asdict(piece) for piece in pieces]}
        partial = self.plan_file.with_suffix(".partial")
        partial.write_text(json.dumps(plan, indent=1))
        partial.rename(self.plan_file)

    def resume(self, facts: dict[str, Any]) -> list[Piece]:
        """The pieces of an unfinished build.

        Raises:
            BuildError: there is none, or it was of another text or with other settings.
        """
        if not self.plan_file.is_file():
            raise BuildError(
                f"nothing to resume: there is no unfinished build in {str(self.folder)!r}",
                "Run the same command without --resume.",
            )
        plan = json.loads(self.plan_file.read_text())
        for name, value in facts.items():
            if plan["facts"].get(name) != value:
                raise BuildError(
                    f"the unfinished build in {str(self.folder)!r} had {name} = "
                    f"{plan['facts'].get(name)!r}, now it is {value!r}",
                    f"Repeat the command as it was, or delete {str(self.folder)!r} and start anew.",
                )
        return [Piece(**piece) for piece in plan["pieces"]]

    def remove(self) -> None:
        """Deletes the folder, if it is there."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
