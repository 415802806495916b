"""Making the hash index of a finished model, level by level, segments side by side."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil

from lmserve.errors import ModelError
from lmserve.large_pages import leave_to_large_pages
from lmserve.ngram.buckets import BUCKET_WORDS, SEGMENT, fill, group
from lmserve.ngram.hash_index import (
    INDEX_FACTS_FILE,
    INDEX_FILE,
    IndexFacts,
    first_bucket,
    index_words,
    level_buckets,
    slots_sha256,
)
from lmserve.ngram.hashes import hash_children, hash_words
from lmserve.ngram.lefts import Uint8s, bytes_of_words, first_bytes, left_bytes
from lmserve.ngram.model import NgramModel
from lmserve.ngram.packing import Uint64s
from lmserve.ngram.probe_window import MAX_ORDER
from lmserve.ngram.tables import partial_name
from lmserve.ngram.unpacking import read_values, unpack_words

# Buckets filled by one thread at a time: 4 MB.
_PART_BUCKETS = SEGMENT
_SEEDS = 8


def _tell_nobody(_: int) -> None:
    """For whoever doesn't want to know."""


def index_model(model: NgramModel, on_rows: Callable[[int], None] = _tell_nobody) -> int:
    """Writes a model's hash index into its folder.

    It takes about 60 bytes of memory for each n-gram of the two largest levels, some of them the
    mapped model's.

    Args:
        model: of order 2 to `MAX_ORDER`.
        on_rows: told, from several threads, how many more n-grams are indexed.

    Returns:
        The size of the index in bytes.

    Raises:
        ModelError: the model's order is another, the disk has no room, or no seed makes all hashes
            different.
        CorruptModelError: the model is damaged.
    """
    if not 2 <= model.order <= MAX_ORDER:
        raise ModelError(
            f"{model.folder} has order {model.order}, and an index is for 2 to {MAX_ORDER}",
            "Score without an index: it is only faster with one.",
        )
    _require_room(model)
    path = model.folder / INDEX_FILE
    unfinished = partial_name(path)
    try:
        for seed in range(_SEEDS):
            if _write_slots(model, unfinished, seed, on_rows):
                break
        else:
            raise ModelError(
                f"{model.folder}: n-grams have equal hashes by {_SEEDS} seeds in a row",
                "Check the model: lmserve info --verify.",
            )
        facts = IndexFacts(
            digest=model.manifest.digest,
            seed=seed,
            buckets=level_buckets(model.manifest),
            sha256=slots_sha256(np.lib.format.open_memmap(unfinished, mode="r")),
        )
        leave_to_large_pages(unfinished)
        # Last, as it says that there is an index; first gone, as it tells of another.
        (model.folder / INDEX_FACTS_FILE).unlink(missing_ok=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    written = partial_name(model.folder / INDEX_FACTS_FILE)
    written.write_text(facts.model_dump_json(indent=2) + "\n")
    written.replace(model.folder / INDEX_FACTS_FILE)
    return path.stat().st_size


def _require_room(model: NgramModel) -> None:
    needed = 8 * index_words(model.manifest.ngrams[0], level_buckets(model.manifest))
    free = shutil.disk_usage(model.folder).free
    if needed > free:
        raise ModelError(
            f"an index of {model.folder} has {needed / 1e6:,.0f} MB, and its disk has "
            f"{free / 1e6:,.0f} MB free",
            "Make room there, or copy the model to a larger disk.",
        )


def _write_slots(model: NgramModel, path: Path, seed: int, on_rows: Callable[[int], None]) -> bool:
    """Writes all buckets; False if two n-grams have the same hash."""
    counts = level_buckets(model.manifest)
    unigrams = _values(model, 1)
    start = first_bucket(len(unigrams))
    shape = (index_words(len(unigrams), counts),)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<u8", "fortran_order": False, "shape": shape}
        )
        written_bytes = file.tell()
        file.write(unigrams.data)
        file.truncate(written_bytes + 8 * start)
        write = partial(_write, file, written_bytes)
        for level in _hashed_levels(model, np.uint64(seed)):
            if not _fill_level(model, level, counts[level.k - 2], partial(write, start), on_rows):
                return False
            start += counts[level.k - 2] * BUCKET_WORDS
    return True


@dataclass(frozen=True, slots=True)
class _HashedLevel:
    """The R n-grams of level k: their hashes, uint64 [R], and what stands before, uint8 [R]."""

    k: int
    hashes: Uint64s
    lefts: Uint8s


def _hashed_levels(model: NgramModel, seed: np.uint64) -> Iterator[_HashedLevel]:
    """Levels 2 .. n, each when the next is unpacked, which tells what stands before."""
    hashes = hash_words(model.manifest.ngrams[0], seed)
    firsts = bytes_of_words(hashes)
    for levels in unpack_words(model):
        if len(levels) == 1:
            continue
        below, level = levels[-2:]
        firsts = first_bytes(below.first_child, firsts)
        if len(levels) > 2:
            lefts = left_bytes(len(hashes), level.suffixes, firsts)
            yield _HashedLevel(len(levels) - 1, hashes, lefts)
        hashes = hash_children(hashes, below.first_child, level.words, seed)
    yield _HashedLevel(model.order, hashes, np.zeros(len(hashes), np.uint8))


def _write(file: BinaryIO, header_bytes: int, start: int, begin: int, part: Uint64s) -> None:
    """Writes words of the index: the `begin`-th and those after it, counted from `start`."""
    left = part.data.cast("B")
    at = header_bytes + 8 * (start + begin)
    while left:
        count = os.pwrite(file.fileno(), left, at)
        left, at = left[count:], at + count


def _values(model: NgramModel, k: int) -> Uint64s:
    """Of the R n-grams of level k, uint64 [R]: log10 backoffs, 0 for none, above log10 P."""
    log10_prob, log10_backoff = read_values(model, k, 0, model.manifest.ngrams[k - 1])
    backoffs = log10_backoff.view(np.uint32).astype(np.uint64) << np.uint64(32)
    return backoffs | log10_prob.view(np.uint32)


def _fill_level(
    model: NgramModel,
    level: _HashedLevel,
    buckets: int,
    write: Callable[[int, Uint64s], None],
    on_rows: Callable[[int], None],
) -> bool:
    last = level.k == model.order
    found, values, lefts, begins = group(
        level.hashes, _values(model, level.k), level.lefts, buckets, _PART_BUCKETS
    )

    def fill_part(i: int) -> bool:
        begin, end = i * _PART_BUCKETS, min((i + 1) * _PART_BUCKETS, buckets)
        part = np.zeros((end - begin) * BUCKET_WORDS, np.uint64)
        mine = slice(begins[i], begins[i + 1])
        filled = fill(found[mine], values[mine], lefts[mine], last, buckets, begin, part)
        write(begin * BUCKET_WORDS, part)
        on_rows(int(begins[i + 1] - begins[i]))
        return bool(filled)

    with ThreadPoolExecutor(psutil.cpu_count() or 1) as pool:
        return all(pool.map(fill_part, range(len(begins) - 1)))
