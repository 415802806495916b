"""Files mapped in large pages: the same bytes, and what is asked of the system."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import pytest

from lmserve.large_pages import leave_to_large_pages, map_file

LARGE = 2 << 20
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
    supported = Path("/sys/kernel/mm/transparent_hugepage").exists()
    with map_file(file):
        assert ("hg" in flags_of_mapping(file)) == supported
    file.write_bytes(b"abc" * 1000)
    with map_file(file):
        assert "hg" not in flags_of_mapping(file), "a small file has no large pages"


@on_linux
def test_a_file_that_is_left_is_read_anew(file: Path) -> None:
    content = file.read_bytes()
    assert pages_in_memory(file) > LARGE // mmap.PAGESIZE
    leave_to_large_pages(file)
    assert pages_in_memory(file) < 10
    assert bytes(map_file(file)) == content


def test_what_cannot_be_mapped_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty"):
        map_file(tmp_path / "empty")
