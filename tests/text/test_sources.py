import bz2
import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.errors import InputError
from lmserve.text.sources import Piece, find_files, line_number, read_blocks, split

COMPRESSORS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def content(pieces: list[Piece], block_bytes: int = 1 << 20) -> bytes:
    return b"".join(block.data for piece in pieces for block in read_blocks(piece, block_bytes))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources") / "text"


@given(
    st.lists(st.text("ab \r\u00fc", max_size=9)),
    st.booleans(),
    st.integers(1, 30),
    st.integers(1, 9),
)
def test_pieces_hold_every_line_once_and_in_order(
    scratch: Path, lines: list[str], ended: bool, piece_bytes: int, block_bytes: int
) -> None:
    data = "\n".join(lines).encode() + (b"\n" if ended else b"")
    scratch.write_bytes(data)
    if not data:
        return
    pieces = split([scratch], piece_bytes)
    assert content(pieces, block_bytes) == data
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    lines_before = 0
    for piece in pieces:
        for block in read_blocks(piece, block_bytes):
            assert line_number(piece, block.first_line) == lines_before + 1
            lines_before += block.data.count(b"\n")


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_files_are_read_whole(tmp_path: Path, suffix: str) -> None:
    data = b"".join(b"line %d\n" % i for i in range(5000))
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESSORS[suffix](data))
    pieces = split([path], 100)
    assert len(pieces) == 1
    assert content(pieces, 1000) == data


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_damaged_compressed_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    data = "".join(f"line {i * 7919 % 1000}\n" for i in range(5000)).encode()
    path.write_bytes(COMPRESSORS[suffix](data)[:-40])
    with pytest.raises(InputError, match=rf"cannot read .*text\{suffix}: damaged"):
        content(split([path], 100))


def test_patterns_are_sorted_and_names_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.txt"):
        (tmp_path / name).write_text("x\n")
    files = find_files([f"{tmp_path}/c.txt", f"{tmp_path}/[ab].txt"])
    assert [file.name for file in files] == ["c.txt", "a.txt", "b.txt"]


@pytest.mark.parametrize(("name", "message"), [("no", "no such input"), (".", "is a folder")])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_files([str(tmp_path / name)])


def test_empty_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match=r"the input is empty: .*empty"):
        split([tmp_path / "empty"], 10)


def test_a_zero_byte_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "utf16"
    path.write_bytes(b"a\n" * 10 + "é".encode("utf-16-le") + b"b\0\n")
    with pytest.raises(InputError, match="line 11: a zero byte") as error:
        content(split([path], 7)[2:])
    assert "iconv" in error.value.remedy
