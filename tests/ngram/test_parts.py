"""Files of parts, and what the two shuffles put into them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lmserve.errors import CorruptModelError
from lmserve.ngram.bucket_parts import read_bucket_parts, write_bucket_parts
from lmserve.ngram.columns import AsideColumn, allocate, open_column
from lmserve.ngram.counting import read_records, records_by_shard
from lmserve.ngram.estimating import Estimates
from lmserve.ngram.filing import fetch, filing
from lmserve.ngram.levels import Level
from lmserve.ngram.parts import Parts, write_parts
from lmserve.ngram.sharding import Shard, Sharding
from lmserve.ngram.spares import Spares
from lmserve.ngram.tables import write_batches


def opened(path: Path, count: int) -> Parts:
    return Parts(pa.OSFile(str(path)), "name", count)


def test_parts_are_read_as_they_were_written(tmp_path: Path) -> None:
    arrays = [np.arange(5, dtype=np.uint64), np.arange(3, dtype=np.uint32)]
    write_parts(tmp_path / "file", [arrays, [], [arrays[1][:0], arrays[1][::2]]])
    parts = opened(tmp_path / "file", 3)
    assert [parts.size_bytes(i) for i in range(3)] == [52, 0, 8]
    assert parts.read(0) == arrays[0].tobytes() + arrays[1].tobytes()
    assert parts.read(1) == b""
    assert np.frombuffer(parts.read(2), np.uint32).tolist() == [0, 2]


@pytest.mark.parametrize(("cut", "count"), [(1, 3), (8, 3), (1000, 3), (0, 2), (0, 4)])
def test_a_damaged_file_is_noticed(tmp_path: Path, cut: int, count: int) -> None:
    path = tmp_path / "file"
    write_parts(path, [[np.arange(2)], [np.arange(3)], [np.arange(4)]])
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - cut, 0)])
    with pytest.raises(CorruptModelError, match=f"it has not {count} parts"):
        opened(path, count)


def test_a_shards_records_are_one_part_in_the_order_of_the_text(tmp_path: Path) -> None:
    batches = [np.arange(n, dtype=np.uint64) * 10 + i for i, n in enumerate((4, 0, 2, 6, 2, 0))]
    path = tmp_path / "records.arrow"
    write_batches(path, (pa.record_batch([batch], ["record"]) for batch in batches))
    packed = tmp_path / "packed"
    write_parts(packed, records_by_shard(path, 3))
    shards = tuple(Shard((), s, s + 1, n) for s, n in enumerate((5, 1, 1)))
    for shard in range(3):
        expected = read_records([path], shard, Sharding(3, shards), 2)
        assert opened(packed, 3).read(shard) == expected.tobytes()


def level(rng: np.random.Generator, contexts: int, words: int) -> tuple[Level, Estimates]:
    ends = np.sort(rng.integers(0, words, contexts - 1)).astype(np.uint32)
    filed = Level(
        words=rng.integers(3, 40, words).astype(np.uint32),
        counts=np.ones(words, np.uint32),
        raw_counts=None,
        list_ends=np.append(ends, np.uint32(words)),
        child_ends=np.zeros(contexts, np.uint32),
        first_words=rng.integers(0, 40, contexts).astype(np.uint32),
        left_out=None,
    )
    return filed, Estimates(
        probability=rng.random(words),
        log10_prob=-rng.random(words).astype(np.float32),
        positions=rng.integers(0, 9, words).astype(np.uint32),
        log10_backoff=-rng.random(contexts).astype(np.float32),
    )


def test_a_bucket_of_all_folders_is_what_is_fetched_from_them(tmp_path: Path) -> None:
    """Folders with contexts from one, two and three words on; buckets without any."""
    rng = np.random.default_rng(1)
    bucket_starts = np.array([0, 10, 10, 25, 40], np.int64)
    folders = []
    for number, shortest in enumerate((1, 2, 3, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with filing(folder, bucket_starts, 3, Spares(tmp_path / "spares")) as file:
            for j in range(shortest, 4):
                file(*level(rng, 30, 100), j)
        write_bucket_parts(folder, shortest, 3, tmp_path / f"{number}.parts")
        folders.append((folder, shortest))
    for bucket in range(4):
        parts = [
            (opened(tmp_path / f"{number}.parts", 4).read(bucket), shortest)
            for number, (_, shortest) in enumerate(folders)
        ]
        for found, expected in zip(
            read_bucket_parts(parts, 3), fetch(folders, 3, bucket), strict=True
        ):
            for name in ("contexts", "entries", "words", "first_words"):
                assert getattr(found, name).tolist() == getattr(expected, name).tolist()
                assert getattr(found, name).dtype == getattr(expected, name).dtype


def test_what_was_kept_aside_comes_to_its_place(tmp_path: Path) -> None:
    allocate(tmp_path / "column", "bits", 10)
    column, aside = open_column(tmp_path / "column"), AsideColumn(tmp_path / "aside")
    assert list(aside.read()) == []
    for index, values in ((7, [1, 2, 3]), (2, []), (0, [4, 5])):
        aside.write(index, np.array(values, np.uint64))
    for index, kept in aside.read():
        column.write(index, kept)
    assert column.read(0, 10).tolist() == [4, 5, 0, 0, 0, 0, 0, 1, 2, 3]
