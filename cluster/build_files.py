"""The names of the files in which a build keeps what it has done.

What a task leaves has another name until it is complete, and is then renamed: what exists is done.
"""

from dataclasses import dataclass
from pathlib import Path

from lmserve.ngram.spares import Spares


@dataclass(frozen=True, slots=True)
class BuildFiles:
    """Names of a build's files, all of them in one folder."""

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
    def notes(self) -> Path:
        """What workers tell the driver: empty files, whose names say it."""
        return self.folder / "notes"

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
