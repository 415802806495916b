"""Exported counts against the plain reference, which shares no code with them."""

import tempfile
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from corpora import zipf_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_counts import Ngram, adjust_counts, count_ngrams

from cluster.counts import CountsConfig, count
from lmserve.ngram.counts import Counts
from lmserve.text.special_tokens import SpecialTokens

Rows = dict[str, tuple[int, int]]


def rows_of(folder: Path, order: int) -> Rows:
    """Count and adjusted count of every n-gram; each must have one row."""
    table = ds.dataset(folder / f"order={order}", format="parquet").to_table()
    rows = {row["ngram"]: (row["count"], row["adjusted_count"]) for row in table.to_pylist()}
    assert len(rows) == len(table)
    return rows


def expected_rows(text: bytes, order: int, min_count: int = 1) -> list[Rows]:
    """The same by the reference, for every order."""
    sentences = [line.split() for line in text.removesuffix(b"\n").split(b"\n")]
    raw = count_ngrams(sentences, order)
    adjusted = adjust_counts(raw)

    def spell(ngram: Ngram) -> str:
        return b" ".join(ngram).decode(errors="replace")

    return [
        {spell(g): (n, adjusted[k][g]) for g, n in raw[k].items() if n >= min_count}
        for k in range(1, order + 1)
    ]


def count_here(text: bytes, folder: Path, order: int, **options: object) -> Counts:
    (folder / "text").write_bytes(text)
    config = CountsConfig(
        inputs=(str(folder / "text"),),
        output=folder / "counts",
        order=order,
        **options,  # type: ignore[arg-type]
    )
    return count(config, on_ray=False)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("min_count", [1, 3, 10**6])
def test_every_ngram_is_counted_as_by_the_reference(
    tmp_path: Path, order: int, min_count: int
) -> None:
    text = zipf_text(400).encode()
    counts = count_here(text, tmp_path, order, min_count=min_count, workers=3)
    expected = expected_rows(text, order, min_count)
    assert [rows_of(tmp_path / "counts", k) for k in range(1, order + 1)] == expected
    assert counts.rows == [len(rows) for rows in expected]
    assert counts == Counts.read(tmp_path / "counts")
    assert (counts.sentences, counts.words) == (400, len(text.split()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts", "text"]
    names = {path.name for path in (tmp_path / "counts").iterdir()}
    assert names == {
        "_build.json",
        "_counts.json",
        *(f"order={k}" for k in range(1, order + 1)),
    }


@given(
    words=st.lists(st.lists(st.sampled_from("abc"), max_size=7), min_size=1, max_size=12),
    order=st.integers(1, 5),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_text(words: list[list[str]], order: int) -> None:
    text = "\n".join([" ".join(sentence) for sentence in words] + ["a"]).encode()
    with tempfile.TemporaryDirectory() as folder:
        count_here(text, Path(folder), order)
        found = [rows_of(Path(folder) / "counts", k) for k in range(1, order + 1)]
    assert found == expected_rows(text, order)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_words_too_frequent_for_a_shard(tmp_path: Path, order: int) -> None:
    """Contexts that shards share are added up, and come once, at their place."""
    text = zipf_text(3000).encode()
    count_here(text, tmp_path, order)
    whole = [rows_in_order(tmp_path / "counts", k) for k in range(1, order + 1)]
    (tmp_path / "counts").rename(tmp_path / "whole")
    count_here(text, tmp_path, order, shard_records=200)
    parts = [*(tmp_path / "counts" / f"order={order}").iterdir()]
    assert len(parts) > 40
    assert [rows_in_order(tmp_path / "counts", k) for k in range(1, order + 1)] == whole
    assert [rows_of(tmp_path / "whole", k) for k in range(1, order + 1)] == expected_rows(
        text, order
    )


def rows_in_order(folder: Path, order: int) -> list[dict[str, object]]:
    parts = sorted((folder / f"order={order}").iterdir())
    return [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]


def test_chunks_and_row_groups_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = zipf_text(200).encode()
    monkeypatch.setattr("lmserve.ngram.counts._ROWS_PER_GROUP", 7)
    count_here(text, tmp_path, 4, min_count=2)
    assert [rows_of(tmp_path / "counts", k) for k in range(1, 5)] == expected_rows(text, 4, 2)
    parts = (tmp_path / "counts" / "order=4").iterdir()
    assert max(pq.read_metadata(part).num_row_groups for part in parts) > 1


def test_readers_of_the_whole_folder_find_one_schema(tmp_path: Path) -> None:
    counts = count_here(zipf_text(100).encode(), tmp_path, 3)
    dataset = ds.dataset(tmp_path / "counts", format="parquet", partitioning="hive")
    schema = {field.name: str(field.type) for field in dataset.schema}
    assert schema == {
        "ngram": "string", "count": "int64", "adjusted_count": "int64", "order": "int32",
    }  # fmt: skip
    for k in (1, 2, 3):
        assert dataset.count_rows(filter=ds.field("order") == k) == counts.rows[k - 1]


def test_words_of_any_bytes(tmp_path: Path) -> None:
    text = "naïve Ł 日本 <unk>\n".encode() + b"caf\xe9 ok \xff\n"
    counts = count_here(text, tmp_path, 2, special_tokens=SpecialTokens.KEEP_UNK)
    assert rows_of(tmp_path / "counts", 1)["<unk>"] == (1, 1)
    assert rows_of(tmp_path / "counts", 2) == expected_rows(text, 2)[1]
    assert "日本 <unk>" in rows_of(tmp_path / "counts", 2)
    assert "caf\ufffd ok" in rows_of(tmp_path / "counts", 2)
    assert counts.words_not_utf8 == 2
