"""Files mapped in large pages: the same bytes, and what is asked of the system."""

import ctypes
import mmap
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from lmserve import large_pages
from lmserve.large_pages import leave_to_large_pages, map_file
from lmserve.ngram.hash_index import INDEX_FILE
from lmserve.ngram.indexing import index_model
from lmserve.ngram.model import NgramModel
from lmserve.publishing.fetching import fetched_once

LARGE = 2 << 20
SUPPORTED = Path("/sys/kernel/mm/transparent_hugepage").exists()
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what it did")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(LARGE + 5))
    return path


def flags_of_mapping(path: Path) -> list[str]:
    """Linux's, of a mapped file."""
    _, _, entry = Path("/proc/self/smaps").read_text().partition(str(path))
    [line] = entry.partition("VmFlags:")[2].splitlines()[:1]
    return line.split()


def pages_in_memory(path: Path) -> int:
    """How many of a file's pages are."""
    with path.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(mapped)))
    assert ctypes.CDLL(None).mincore(address, ctypes.c_size_t(len(mapped)), pages) == 0
    return sum(page & 1 for page in pages)


def test_a_mapped_file_has_its_bytes(file: Path) -> None:
    assert bytes(map_file(file)) == file.read_bytes()
    (file.parent / "small").write_bytes(b"abc")
    assert bytes(map_file(file.parent / "small")) == b"abc"


@on_linux
def test_large_pages_are_asked_for(file: Path) -> None:
    with map_file(file):
        assert ("hg" in flags_of_mapping(file)) == SUPPORTED
    file.write_bytes(b"abc" * 1000)
    with map_file(file):
        assert "hg" not in flags_of_mapping(file), "a small file has no large pages"


@pytest.fixture
def on_disk(file: Path) -> Path:
    """Its folder, where the system can drop files from memory."""
    kind = psutil.disk_partitions(all=True)
    place = max(
        (one for one in kind if file.is_relative_to(one.mountpoint)),
        key=lambda p: len(p.mountpoint),
    )
    if sys.platform != "linux" or place.fstype in ("tmpfs", "ramfs"):
        pytest.skip("files lie in memory here")
    return file.parent


@pytest.mark.usefixtures("on_disk")
def test_a_file_that_is_left_is_read_anew(file: Path) -> None:
    content = file.read_bytes()
    assert pages_in_memory(file) > LARGE // mmap.PAGESIZE
    leave_to_large_pages(file)
    assert pages_in_memory(file) < 10
    assert bytes(map_file(file)) == content


def test_indexes_that_are_made_or_fetched_are_left(on_disk: Path, tiny_model_path: Path) -> None:
    shutil.copytree(tiny_model_path, on_disk / "model")
    index_model(NgramModel.load(on_disk / "model"))
    assert pages_in_memory(on_disk / "model" / INDEX_FILE) == 0

    def fetch(folder: Path) -> None:
        shutil.copytree(on_disk / "model", folder)

    fetched_once(on_disk / "cache" / "fetched", fetch)
    assert pages_in_memory(on_disk / "cache" / "fetched" / INDEX_FILE) == 0


@on_linux
def test_an_index_is_mapped_in_large_pages(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model_path, tmp_path / "model")
    index_model(NgramModel.load(tmp_path / "model"))
    monkeypatch.setattr(large_pages, "_LARGE_BYTES", 0)
    model = NgramModel.load(tmp_path / "model")
    assert model.index is not None
    assert ("hg" in flags_of_mapping(model.folder / INDEX_FILE)) == SUPPORTED


def test_what_cannot_be_mapped_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty"):
        map_file(tmp_path / "empty")
