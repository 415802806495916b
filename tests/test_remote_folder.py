"""Folders of object stores: a real S3 server, and a local file system reached by a URL."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs
import pytest
from s3_server import running_s3

from lmserve.errors import InputError
from lmserve.remote_folder import RemoteFolder, beside_url, join_url, name_in_url


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[str, pyarrow.fs.S3FileSystem]]:
    with running_s3() as server:
        yield server


@pytest.fixture(params=["s3", "file"])
def folder(
    request: pytest.FixtureRequest, store: tuple[str, pyarrow.fs.S3FileSystem], tmp_path: Path
) -> RemoteFolder:
    url = f"s3://bucket/{tmp_path.name}{store[0]}" if request.param == "s3" else tmp_path.as_uri()
    return RemoteFolder(url).below("a/folder")


def test_what_is_written_is_read(folder: RemoteFolder, tmp_path: Path) -> None:
    assert folder.empty()
    assert folder.sizes() == {}
    source = tmp_path / "source"
    source.write_bytes(b"of a file" * 1000)
    folder.put("x/bytes", b"bytes")
    folder.put("x/y/file", source)
    folder.put("stream", io.BytesIO(b"of a stream"))
    assert not folder.empty()
    assert folder.sizes() == {"x/bytes": 5, "x/y/file": 9000, "stream": 11}
    assert folder.read("stream", 4) == b"of a"
    assert folder.size_bytes("x/bytes") == 5
    assert folder.size_bytes("x") is None
    assert not folder.empty("x")
    folder.get("x/y/file", tmp_path / "fetched" / "file")
    assert (tmp_path / "fetched" / "file").read_bytes() == source.read_bytes()
    folder.delete("x")
    assert folder.files() == ["stream"]
    folder.delete()
    assert folder.empty()


def test_the_empty_path_is_the_file_itself(folder: RemoteFolder) -> None:
    folder.put("name.txt", b"content")
    file = RemoteFolder(join_url(folder.url, "name.txt"))
    assert file.read("", 100) == b"content"
    file.put("", b"other")
    assert folder.read("name.txt", 100) == b"other"
    file.delete_file("")
    assert folder.files() == []


class Broken(io.BytesIO):
    """Fails when half of it has been read."""

    def read(self, _: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("the disk is broken")
        return super().read(10)


def test_a_file_appears_whole_or_not_at_all(folder: RemoteFolder) -> None:
    with pytest.raises(InputError, match="the disk is broken"):
        folder.put("name", Broken(b"0123456789" * 2))
    assert folder.files() == []


def test_a_file_that_is_being_written_is_not_yet_there(tmp_path: Path) -> None:
    """Also where a file system shows what is being written."""
    folder = RemoteFolder(tmp_path.as_uri())
    seen: list[bool] = []

    class Looking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.append(folder.exists("name"))
            return super().read(size)

    folder.put("name", Looking(b"content"))
    assert seen == [False, False]
    assert folder.exists("name")


def test_a_small_object_is_one_request(
    store: tuple[str, pyarrow.fs.S3FileSystem], caplog: pytest.LogCaptureFixture
) -> None:
    folder = RemoteFolder(f"s3://bucket/small{store[0]}")
    with caplog.at_level("INFO", logger="werkzeug"):
        folder.put("object", b"content")
    assert [record for record in caplog.messages if "small" in record] == [
        message for message in caplog.messages if '"PUT /bucket/small/object HTTP' in message
    ]
    assert len(caplog.messages) == 1


def test_urls() -> None:
    assert beside_url("s3://b/m/?region=x", ".lock") == "s3://b/m.lock?region=x"
    assert name_in_url("s3://b/models/m/?region=x") == "m"
    assert name_in_url("s3://bucket") == name_in_url("s3://bucket/?region=x") == ""
