"""The two records of a model directory: the pointer of a name, and the contents of a version."""

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lmserve.errors import CorruptModelError
from lmserve.publishing.naming import FileName, Name

POINTER_FILE = "current.json"
PUBLISHED_FILE = "published.json"
# The newest are kept; what came before them can be named, but not returned to without a name.
_MAX_HISTORY = 1000
MAX_RECORD_BYTES = 4 << 20

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Perplexity = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Action = Literal["publish", "rollback"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(_Record):
    """One move of a pointer.

    Attributes:
        version: where it went.
        action: why.
        at: when.
    """

    version: Name
    action: Action
    at: AwareDatetime


class Pointer(_Record):
    """Which version of a name is current.

    Attributes:
        current: the version to serve.
        history: all moves, oldest first; the last one led to `current`.
    """

    schema_version: Literal[1] = 1
    current: Name
    history: Annotated[list[Step], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> "Pointer":
        if self.history[-1].version != self.current:
            raise ValueError("the current version is not the one that the history ends with")
        return self

    @classmethod
    def after(
        cls, before: "Pointer | None", version: str, action: Action, at: datetime
    ) -> "Pointer":
        """The pointer that one more move makes of `before`."""
        steps = before.history if before else []
        step = Step(version=version, action=action, at=at)
        return cls(current=version, history=[*steps, step][-_MAX_HISTORY:])

    @property
    def former(self) -> list[str]:
        """Versions to go back to, the nearest last: those gone back from are none of them."""
        stack: list[str] = []
        for step in self.history:
            if step.version in stack:
                at = stack.index(step.version)
                del stack[at : None if step.action == "rollback" else at + 1]
            stack.append(step.version)
        return stack[:-1]

    @property
    def versions(self) -> list[str]:
        """All versions that were current at some time, by their first time."""
        return list(dict.fromkeys(step.version for step in self.history))


class FileRecord(_Record):
    """One file of a version: its size and SHA-256."""

    size_bytes: Annotated[int, Field(ge=0, lt=1 << 62)]
    sha256: Sha256


class Published(_Record):
    """The contents of a version; written after all of them.

    Attributes:
        kind: "ngram", "rnn" or "mixture".
        digest: of the model.
        at: when it was published.
        files: by path in the version's folder.
        heldout_perplexity: of a text that the model was not made from, where it is known.
    """

    schema_version: Literal[1] = 1
    kind: str
    digest: Sha256
    at: AwareDatetime
    files: dict[FileName, FileRecord]
    heldout_perplexity: Perplexity | None = None

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files.values())


Record = TypeVar("Record", bound=_Record)


def parse_record(kind: type[Record], data: bytes, place: str) -> Record:
    """A record as it was written.

    Args:
        kind: which record.
        data: its bytes.
        place: where it lies, for the error.

    Raises:
        CorruptModelError: it is none.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise CorruptModelError(f"{place} is larger than any record", "Publish the model again.")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise CorruptModelError(
            f"{place} is no valid record of a model directory: {error}",
            "Publish the model again, or put the former file back.",
        ) from error


def record_bytes(record: BaseModel) -> bytes:
    """A record as it is written: JSON, for people, too."""
    return (record.model_dump_json(indent=2) + "\n").encode()
