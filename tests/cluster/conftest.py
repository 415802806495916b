"""Fixtures of the tests that build."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from corpora import zipf_text
from s3_server import running_s3
from storage_builds import FALLBACK

from cluster.build import build
from cluster.config import BuildConfig
from lmserve.remote_folder import RemoteFolder


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 MB, so 4 pieces."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text(zipf_text(60_000, length=30, words=40_000))
    return path


@pytest.fixture(scope="session")
def expected(text: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model, built without Ray."""
    output = tmp_path_factory.mktemp("expected") / "model"
    return build(BuildConfig(inputs=(str(text),), output=output, order=4), on_ray=False).digest


@pytest.fixture(scope="module")
def query() -> Iterator[str]:
    """What leads URLs to an S3 server."""
    with running_s3() as (query, _):
        yield query


@pytest.fixture
def bucket(query: str) -> Iterator[RemoteFolder]:
    """A folder of its bucket that is emptied."""
    # The server's memory is shared with other tests of this process.
    folder = RemoteFolder(f"s3://bucket/storage-builds{query}")
    yield folder
    for path in folder.files():
        folder.delete_file(path)


@pytest.fixture(scope="module")
def some_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for several pieces."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text(zipf_text(16_000, length=30, words=10_000, seed=3))
    assert path.stat().st_size > 1 << 20
    return path


@pytest.fixture
def config(some_text: Path, tmp_path: Path, bucket: RemoteFolder) -> BuildConfig:
    """Of a build whose output is there."""
    return BuildConfig(
        inputs=(str(some_text),),
        url=bucket.below("models/m").url,
        order=4,
        temp_dir=tmp_path / "driver",
        options=FALLBACK,
        workers=2,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of all kinds, the last without an end."""
    path = tmp_path_factory.mktemp("corpus") / "lines.txt"
    path.write_bytes(
        zipf_text(2000, seed=3).encode() + b"\n\nnew <unk> w1\r\nnot \xff UTF-8\n\t\nw3 w2"
    )
    return path
