"""The manifest: what a model folder holds, and how to tell that it is whole."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmserve.errors import CorruptModelError, ModelError
from lmserve.manifests import MANIFEST_FILE, read_manifest
from lmserve.ngram.discounting import Discounts
from lmserve.ngram.layout import Layout, LevelLayout
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.ngram.tables import Schema, binary_parts, open_table, read_numbers
from lmserve.ngram.vocabulary import SLOTS_FILE, SLOTS_SCHEMA, WORDS_FILE, WORDS_SCHEMA
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization

UNIGRAMS_FILE = "unigrams.arrow"
NGRAMS_FILE = "ngrams.arrow"
BLOCKS_FILE = "blocks.arrow"
WIDE_FILE = "wide-blocks.arrow"
CODEBOOKS_FILE = "codebooks.arrow"
SCHEMA_VERSION = 2

UNIGRAMS_SCHEMA = {
    "log10_prob": pa.float32(),
    "log10_backoff": pa.float32(),
    "first_child": pa.uint64(),
}
NGRAMS_SCHEMA = {"bits": pa.uint64()}
BLOCKS_SCHEMA = {"first_child": pa.uint64()}
CODEBOOKS_SCHEMA = {"log10": pa.float32()}
SCHEMAS: Mapping[str, Schema] = {
    UNIGRAMS_FILE: UNIGRAMS_SCHEMA,
    NGRAMS_FILE: NGRAMS_SCHEMA,
    BLOCKS_FILE: BLOCKS_SCHEMA,
    WIDE_FILE: BLOCKS_SCHEMA,
    CODEBOOKS_FILE: CODEBOOKS_SCHEMA,
    SLOTS_FILE: SLOTS_SCHEMA,
    WORDS_FILE: WORDS_SCHEMA,
}
_OTHER_KINDS = {"rnn": "a recurrent model", "mixture": "a mixture of models"}

Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class FileFacts(BaseModel):
    """One file: its size in bytes, and the SHA-256 of each column's values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: Count
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


class Manifest(BaseModel):
    """Everything about a model but its tables.

    Attributes:
        tokenization: how text becomes tokens; it carries the checksum of the tokenizer's file.
        sentences: lines of the text that was counted.
        words: words in it, without sentence ends.
        ngrams: numbers of n-grams of order 1, 2, ...; order 1 has a row per vocabulary word.
        levels: rows and widths of levels 2 .. n.
        discounts: of orders 1 .. n; empty for an imported model.
        counts_of_counts: per order, the n-grams with adjusted count 1, 2, 3, 4; empty for an
            imported model.
        quantized_bits: width of a probability's code; None for exact ones.
        pruning: per order, the count up to which n-grams were left out; empty where none was.
        entropy_pruning: thresholds by which n-grams were left out, one after the other; empty where
            none were.
        digest: SHA-256 of all that determines a score; what was counted by other workers, in
            another number of shards or after a crash has the same digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["lmserve-ngram"] = "lmserve-ngram"
    schema_version: int = SCHEMA_VERSION
    order: Annotated[int, Field(ge=1)]
    smoothing: Smoothing | Literal["imported"]
    special_tokens: SpecialTokens
    tokenization: Tokenization = Tokenization()
    sentences: Count = 0
    words: Count = 0
    ngrams: list[Count]
    levels: list[LevelLayout]
    discounts: list[Discounts] = []
    counts_of_counts: list[list[Count]] = []
    quantized_bits: Annotated[int, Field(ge=2, le=16)] | None = None
    pruning: list[Count] = []
    entropy_pruning: list[Annotated[float, Field(gt=0)]] = []
    files: dict[str, FileFacts] = {}
    digest: str = ""

    @property
    def layout(self) -> Layout:
        """Where the levels lie."""
        return Layout(tuple(self.levels))

    def compute_digest(self) -> str:
        """The digest that this manifest should carry.

        File sizes are left out: they depend on Arrow's version, the values in them do not.
        """
        facts = self.model_dump(mode="json", exclude={"digest": True, "files": True})
        # Models from before there were these keep their digests.
        if not self.entropy_pruning:
            del facts["entropy_pruning"]
        for level in facts["levels"]:
            if not level["unary_words"]:
                del level["unary_words"]
        facts["columns"] = {name: self.files[name].sha256 for name in self.files}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Reads and checks the manifest of a model, and the sizes of its files.

        Raises:
            ModelError: the folder is no model, or one of a newer format.
            CorruptModelError: the manifest or a file was changed or cut short.
        """
        manifest = cls.parse(read_manifest(folder, writer="lmserve build"), str(folder))
        manifest._check_sizes(folder)
        return manifest

    @classmethod
    def parse(cls, written: bytes, place: str) -> "Manifest":
        """A manifest as it was written; whether the files fit it is not looked at.

        Args:
            written: its bytes.
            place: the model's folder, for errors.

        Raises:
            ModelError: it is no n-gram model's, or of a newer format.
            CorruptModelError: it was changed.
        """
        try:
            content = json.loads(written)
            if content.get("kind") in _OTHER_KINDS:
                raise ModelError(
                    f"{place} is {_OTHER_KINDS[content['kind']]}, not an n-gram model",
                    "Name a folder written by 'lmserve build' or 'lmserve import'.",
                )
            version = content.get("schema_version")
            if version != SCHEMA_VERSION:
                raise ModelError(
                    f"{place} has format version {version}; this lmserve reads {SCHEMA_VERSION}",
                    "Build the model again, or use the lmserve that built it.",
                )
            manifest = cls.model_validate(content)
        except (ValueError, AttributeError, ValidationError) as error:
            raise CorruptModelError(
                f"{place}/{MANIFEST_FILE} is no valid manifest: {error}",
                "Build the model again, or copy it again.",
            ) from error
        manifest._check_facts(place)
        return manifest

    def write(self, folder: Path) -> None:
        """Writes the manifest into the model's folder."""
        text = json.dumps(self.model_dump(mode="json"), indent=2)
        (folder / MANIFEST_FILE).write_text(text + "\n")

    def _check_facts(self, place: str) -> None:
        expected = self.compute_digest()
        if self.digest != expected:
            raise CorruptModelError(
                f"{place}: the manifest's digest is {self.digest[:16]}..., its content has "
                f"{expected[:16]}...; it was changed after the build",
                "Build the model again, or copy it again.",
            )
        if set(self.files) != set(SCHEMAS):
            raise CorruptModelError(
                f"{place}: the manifest names the files {sorted(self.files)}, "
                f"expected {sorted(SCHEMAS)}",
                "Build the model again, or copy it again.",
            )

    def _check_sizes(self, folder: Path) -> None:
        for name, facts in self.files.items():
            path = folder / name
            size = path.stat().st_size if path.is_file() else 0
            if size != facts.size_bytes:
                raise CorruptModelError(
                    f"{path} has {size:,} bytes, its manifest says {facts.size_bytes:,}: the file "
                    "was cut short or belongs to another model",
                    "Copy the whole folder again, or build the model again.",
                )


def file_facts(path: Path) -> FileFacts:
    """Size and column checksums of a table, read from disk."""
    columns = open_table(path, SCHEMAS[path.name])
    return FileFacts(
        size_bytes=path.stat().st_size,
        sha256={name: _column_sha256(path, name, column) for name, column in columns.items()},
    )


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Adds the files' facts and the digest of finished tables, and writes the manifest.

    Args:
        folder: all tables of a model.
        manifest: everything else about it.
    """
    files = {name: file_facts(folder / name) for name in sorted(SCHEMAS)}
    sealed = manifest.model_copy(update={"files": files})
    sealed = sealed.model_copy(update={"digest": sealed.compute_digest()})
    sealed.write(folder)
    return sealed


def verify(folder: Path, manifest: Manifest) -> None:
    """Reads every byte of a model and compares it with the manifest.

    Raises:
        CorruptModelError: a column's values are not the ones that were built.
    """
    for name, facts in manifest.files.items():
        for column, found in file_facts(folder / name).sha256.items():
            if found != facts.sha256.get(column):
                raise CorruptModelError(
                    f"{folder / name}, column {column!r}: its SHA-256 is {found[:16]}..., the "
                    f"manifest says {facts.sha256.get(column, 'nothing')[:16]}...; a byte changed",
                    "Copy the whole folder again, or build the model again.",
                )


def _column_sha256(path: Path, name: str, column: pa.Array) -> str:
    digest = hashlib.sha256()
    if pa.types.is_large_binary(column.type):
        offsets, data = binary_parts(column)
        digest.update(offsets.data)
        digest.update(data[: offsets[-1]].data)
    else:
        for piece in read_numbers(path, name):
            digest.update(piece)
    return digest.hexdigest()
