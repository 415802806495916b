"""`lmserve build` and `lmserve counts` into an object store, as users meet them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from s3_server import running_s3

import lmserve
from lmserve.remote_folder import RemoteFolder


@pytest.fixture(scope="module")
def query() -> Iterator[str]:
    with running_s3() as (query, _):
        yield query


def run(job: str, *arguments: object) -> str:
    command = [sys.executable, "-m", f"jobs.{job}", *map(str, arguments), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, timeout=120, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_model(query: str, tiny_text: Path, tmp_path: Path, tiny_model_path: Path) -> None:
    url = f"s3://bucket/jobs/models/tiny{query}"
    told = run("build_ngram", tiny_text, "--output", url, "--order", 3, "--temp-dir", tmp_path)
    assert f"digest {lmserve.load(tiny_model_path).digest}" in told
    assert "stages, memory and balance: s3://bucket/jobs/models/tiny/report.html" in told
    assert "fetched" in told
    assert f"lmserve eval {url} TEXT" in told
    folder = RemoteFolder(url)
    expected = {path.name for path in tiny_model_path.iterdir()}
    assert set(folder.files()) == expected | {"report.html"}
    summary = folder.read("build.json", 1 << 20)
    assert summary is not None
    assert sum(stage["shared_bytes"] for stage in json.loads(summary)["stages"]) > 0
    page = folder.read("report.html", 1 << 24)
    assert page is not None
    assert b"How the model" in page
    assert list(tmp_path.iterdir()) == []


def test_counts(query: str, tiny_text: Path, tmp_path: Path) -> None:
    url = f"s3://bucket/jobs/counts{query}"
    told = run("counts", tiny_text, "--output", url, "--order", 3)
    assert "FROM 's3://bucket/jobs/counts/order=3/*.parquet'" in told
    run("counts", tiny_text, "--output", tmp_path / "counts", "--order", 3)
    folder, copy = RemoteFolder(url), tmp_path / "copy"
    for path in folder.files():
        folder.get(path, copy / path)
    assert {path.name for path in copy.iterdir()} == {
        path.name for path in (tmp_path / "counts").iterdir()
    }
    stored, local = (
        ds.dataset(place, format="parquet", partitioning="hive").to_table()
        for place in (copy, tmp_path / "counts")
    )
    assert stored == local
    folders = {path.partition("/")[0] for path in RemoteFolder(f"s3://bucket/jobs{query}").files()}
    assert folders <= {
        "models",
        "counts",
    }
