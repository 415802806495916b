"""The hash index of a model: two more files of its folder, by which texts are scored faster.

`hash-index.npy` holds a word of 64 bits for each unigram, log10 backoff above log10 P, then the
buckets of levels 2 .. n one after the other; `hash-index.json` holds the rest.
A model is whole without them, and gives the same scores. See `lmserve.ngram.buckets` for what is in
the buckets, and `lmserve.ngram.indexing` for how they are filled.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmserve.errors import CorruptModelError
from lmserve.large_pages import map_file
from lmserve.ngram.buckets import BUCKET_WORDS, bucket_count
from lmserve.ngram.hashes import radix_powers
from lmserve.ngram.manifest import Manifest
from lmserve.ngram.packing import Uint64s
from lmserve.ngram.probe_window import Index

INDEX_FACTS_FILE = "hash-index.json"
INDEX_FILE = "hash-index.npy"
INDEX_FILES = (INDEX_FILE, INDEX_FACTS_FILE)
_MAX_FACTS_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 12
_REMEDY = "Run lmserve index on this folder again, or delete its hash-index files."


class IndexFacts(BaseModel):
    """What a hash index is of.

    Attributes:
        digest: of the model.
        seed: of the words' hashes: the first by which no two n-grams of a level have the same.
        buckets: of levels 2 .. n.
        sha256: of the buckets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["lmserve-hash-index"] = "lmserve-hash-index"
    # 1 did not tell what stands before an n-gram.
    schema_version: Literal[2] = 2
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    buckets: list[Annotated[int, Field(ge=1, lt=1 << 32)]]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def level_buckets(manifest: Manifest) -> list[int]:
    """How many buckets levels 2 .. n of a model's index have."""
    rows = manifest.ngrams[1:]
    return [bucket_count(count, last=k == len(rows)) for k, count in enumerate(rows, 1)]


def first_bucket(unigrams: int) -> int:
    """Where the buckets begin, after a word for each unigram: at a line of the cache."""
    return -(-unigrams // BUCKET_WORDS) * BUCKET_WORDS


def index_words(unigrams: int, buckets: Sequence[int]) -> int:
    """How many words of 64 bits an index has."""
    return first_bucket(unigrams) + sum(buckets) * BUCKET_WORDS


def open_index(folder: Path, manifest: Manifest, *, check: bool) -> Index | None:
    """Maps the hash index of a model; None where it has none.

    Args:
        folder: of the model.
        manifest: its manifest.
        check: read every byte and compare its checksum.

    Raises:
        CorruptModelError: it is of another model or version, or was changed or cut short.
    """
    path = folder / INDEX_FACTS_FILE
    if not path.is_file():
        return None
    facts = _read_facts(path)
    if facts.digest != manifest.digest or len(facts.buckets) != manifest.order - 1:
        raise CorruptModelError(f"{path} is of another model than {folder}", _REMEDY)
    unigrams = manifest.ngrams[0]
    slots = _open_slots(folder / INDEX_FILE, index_words(unigrams, facts.buckets))
    if check and slots_sha256(slots) != facts.sha256:
        raise CorruptModelError(f"{folder / INDEX_FILE} is not what was written", _REMEDY)
    words = [count * BUCKET_WORDS for count in facts.buckets]
    return Index(
        seed=np.array([facts.seed], np.uint64),
        powers=radix_powers(manifest.order),
        unigrams=slots[:unigrams],
        slots=slots,
        starts=np.cumsum([first_bucket(unigrams), 0, 0, *words[:-1]], dtype=np.uint64),
        buckets=np.array([0, 0, *facts.buckets], np.uint64),
    )


def slots_sha256(slots: Uint64s) -> str:
    """The checksum of an index's buckets."""
    return hashlib.sha256(slots.data).hexdigest()


def _read_facts(path: Path) -> IndexFacts:
    try:
        if path.stat().st_size > _MAX_FACTS_BYTES:
            raise ValueError("it is larger than any")
        return IndexFacts.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        found = f"{place} is {first['input']!r:.80}: {first['msg']}"
        raise CorruptModelError(f"{path} is no index of this version: {found}", _REMEDY) from error
    except (OSError, ValueError) as error:
        raise CorruptModelError(f"{path} is no valid index: {error}", _REMEDY) from error


def _open_slots(path: Path, words: int) -> Uint64s:
    try:
        mapped = map_file(path)
        header = io.BytesIO(mapped[:_MAX_HEADER_BYTES])
        version = np.lib.format.read_magic(header)
        if version != (1, 0):
            raise ValueError(f"it has version {version} of NumPy's format")
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(header)
        if (shape, columns_first, dtype) == ((words,), False, np.dtype("<u8")):
            return np.frombuffer(mapped, np.uint64, words, header.tell())
    except (OSError, ValueError, TokenError) as error:
        raise CorruptModelError(f"{path} is missing or damaged: {error}", _REMEDY) from error
    raise CorruptModelError(
        f"{path} holds {dtype} {list(shape)}, expected uint64 [{words}]", _REMEDY
    )
