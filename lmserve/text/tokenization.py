"""How a model's text becomes tokens: chosen once, when it is built, and kept in it.

    lines of text -> normalised lines -> lines of tokens separated by spaces

What comes after, counting and scoring, knows bytes and spaces alone.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lmserve.errors import CorruptModelError, OptionError
from lmserve.text.characters import split_characters
from lmserve.text.normalizing import Normalization, normalize
from lmserve.text.pieces import Block
from lmserve.text.subwords import huggingface_splitter, sentencepiece_splitter

# Lines of text to lines of tokens, as many; tokens are separated by spaces.
Segment = Callable[[bytes], bytes]

_MAX_FILE_BYTES = 256 << 20


class Tokenizer(StrEnum):
    """What cuts a line into tokens."""

    WHITESPACE = "whitespace"
    CHARACTERS = "characters"
    SENTENCEPIECE = "sentencepiece"
    HUGGINGFACE = "huggingface"


# Their names in a model's folder.
_FILES = {Tokenizer.SENTENCEPIECE: "tokenizer.model", Tokenizer.HUGGINGFACE: "tokenizer.json"}
_SPLITTERS: dict[Tokenizer, Callable[[bytes, Path], Segment]] = {
    Tokenizer.SENTENCEPIECE: sentencepiece_splitter,
    Tokenizer.HUGGINGFACE: huggingface_splitter,
}
_KINDS = {".model": Tokenizer.SENTENCEPIECE, ".json": Tokenizer.HUGGINGFACE}


class Tokenization(BaseModel):
    """How text becomes tokens; part of a model's manifest.

    Attributes:
        tokenizer: what cuts a line.
        normalization: what is done to the line before, in this order.
        sha256: hexadecimal SHA-256 of the tokenizer's file, which lies in the model's folder; None
            for the tokenizers that have no file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokenizer: Tokenizer = Tokenizer.WHITESPACE
    normalization: tuple[Normalization, ...] = ()
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _file_or_none(self) -> "Tokenization":
        if (self.tokenizer in _FILES) != (self.sha256 is not None):
            raise ValueError(f"{self.tokenizer} with the checksum {self.sha256}")
        return self

    @classmethod
    def choose(cls, tokenizer: str, normalization: str = "none") -> "Tokenization":
        """From what a person writes.

        Args:
            tokenizer: "whitespace", "characters", or the path of a tokenizer's file: of
                SentencePiece (.model) or Hugging Face (.json).
            normalization: "none", or steps separated by commas: "nfkc,lower".

        Raises:
            OptionError: there is no such tokenizer, file or step, or the file is none.
            DependencyError: the package that reads the file is not installed.
        """
        steps = _parse_steps(normalization)
        if tokenizer in (Tokenizer.WHITESPACE, Tokenizer.CHARACTERS):
            return cls(tokenizer=Tokenizer(tokenizer), normalization=steps)
        path = Path(tokenizer)
        if path.suffix not in _KINDS or not path.is_file():
            reason = "there is no such file" if path.suffix in _KINDS else "unknown"
            raise OptionError(
                f"tokenizer is {tokenizer!r}: {reason}",
                "Give 'whitespace', 'characters', a SentencePiece model (FILE.model) or a Hugging "
                "Face tokenizer.json (FILE.json).",
            )
        content = _read(path)
        kind = _KINDS[path.suffix]
        _SPLITTERS[kind](content, path)
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(tokenizer=kind, normalization=steps, sha256=sha256)

    def __str__(self) -> str:
        steps = "".join(f"{step}, then " for step in self.normalization)
        return steps + self.tokenizer

    @property
    def file_name(self) -> str | None:
        """The name of the tokenizer's file in a model's folder, if it has one."""
        return _FILES.get(self.tokenizer)

    def keep(self, source: Path, folder: Path) -> None:
        """Copies the tokenizer's file, if it has one, into a model's folder.

        Raises:
            OptionError: the file is not the one that was chosen any more.
        """
        if self.file_name:
            content = _read(source)
            if hashlib.sha256(content).hexdigest() != self.sha256:
                raise OptionError(f"{source} was changed just now", "Run the command again.")
            (folder / self.file_name).write_bytes(content)

    def open(self, folder: Path) -> Segment:
        """What turns text into tokens.

        Lines stay lines, and the last one is ended. With whitespace and no normalisation, the bytes
        come back as they are.

        Args:
            folder: the model's, where the tokenizer's file lies.

        Raises:
            CorruptModelError: the tokenizer's file is missing or has changed.
            DependencyError: the package that reads it is not installed.
        """
        split = self._splitter(folder)
        if split is identity and not self.normalization:
            return identity

        def segment(data: bytes) -> bytes:
            # A last line of spaces alone would be no line any more, if it had no end.
            ended = data if data.endswith(b"\n") or not data else data + b"\n"
            return split(normalize(ended, self.normalization))

        return segment

    def _splitter(self, folder: Path) -> Segment:
        if self.tokenizer is Tokenizer.WHITESPACE:
            return identity
        if self.tokenizer is Tokenizer.CHARACTERS:
            return split_characters
        path = folder / _FILES[self.tokenizer]
        content = _read(path) if path.is_file() else b""
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            what = f"its SHA-256 is {found[:16]}..." if content else "it is missing"
            raise CorruptModelError(
                f"{path}, the model's tokenizer: {what}, the manifest says {self.sha256}",
                "Copy the whole folder again, or build the model again.",
            )
        return _SPLITTERS[self.tokenizer](content, path)


def segmented(blocks: Iterable[Block], segment: Segment) -> Iterator[Block]:
    """The blocks as lines of tokens, which keep the places of the text that they are made of."""
    for block in blocks:
        yield block if segment is identity else replace(block, data=segment(block.data))


def identity(data: bytes) -> bytes:
    """Text whose words are its tokens."""
    return data


def _parse_steps(normalization: str) -> tuple[Normalization, ...]:
    if normalization == "none":
        return ()
    try:
        return tuple(Normalization(step.strip()) for step in normalization.split(","))
    except ValueError as error:
        raise OptionError(
            f"normalize is {normalization!r}",
            "Give 'none', 'lower', 'nfkc', or several in their order: 'nfkc,lower'.",
        ) from error


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _MAX_FILE_BYTES else b""
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error}", "Check its permissions.") from error
    if size > _MAX_FILE_BYTES:
        raise OptionError(
            f"{path} has {size:,} bytes; no tokenizer has more than {_MAX_FILE_BYTES:,}",
            "Name a tokenizer's file.",
        )
    return content
