import bz2
import gzip
import lzma
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.errors import InputError
from lmserve.text import sources
from lmserve.text.sources import (
    Piece,
    find_files,
    line_number,
    read_blocks,
    require_regular,
    split,
)

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
            assert line_number(piece, block.first_record) == lines_before + 1
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
    assert [Path(file).name for file in files] == ["c.txt", "a.txt", "b.txt"]


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


def test_line_numbers_are_counted_without_holding_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1000)
    path = tmp_path / "text"
    path.write_bytes(b"1234567\n" * 500_000)
    last = split([path], 1_000_000)[-1]
    tracemalloc.start()
    try:
        assert line_number(last, 7) == 375_000 + 8
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_fifo_is_read_once_from_beginning_to_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"fifo{suffix}"
    os.mkfifo(path)
    data = b"a line\n" * 30_000
    content_of_fifo = gzip.compress(data) if suffix else data
    threading.Thread(target=path.write_bytes, args=(content_of_fifo,), daemon=True).start()
    pieces = split(find_files([str(path)]), 100)
    assert len(pieces) == 1
    assert content(pieces) == data


def test_a_pipe_that_is_open_already_is_read_by_its_name() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"a\nb\n")
    os.close(write_end)
    try:
        assert content(split(find_files([f"/dev/fd/{read_end}"]), 100)) == b"a\nb\n"
    finally:
        os.close(read_end)


def test_a_fifo_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    # Open for both, so that neither end waits for the other to be opened.
    end = os.open(path, os.O_RDWR)
    try:
        os.write(end, b"a\n")
        blocks = read_blocks(*split(find_files([str(path)]), 100))
        assert next(blocks).data == b"a\n"
    finally:
        os.close(end)


def test_pipes_and_devices_are_refused_where_files_are_required(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read_end, write_end = os.pipe()
    try:
        for name in (str(path), "/dev/null", f"/dev/fd/{read_end}"):
            with pytest.raises(InputError, match="is a pipe or a device") as error:
                require_regular(find_files([name]))
            assert "lmserve build -" in error.value.remedy
    finally:
        os.close(read_end)
        os.close(write_end)
    (tmp_path / "text").touch()
    require_regular(find_files([str(tmp_path / "text")]))


def test_a_standard_input_that_does_not_block_is_waited_for() -> None:
    script = (
        "from lmserve.text.sources import find_files, read_blocks, split\n"
        "for piece in split(find_files(['-']), 100):\n"
        "    for block in read_blocks(piece): print(block.data, flush=True)"
    )
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=read_end, stdout=subprocess.PIPE) as process:
        os.close(read_end)
        assert process.stdout is not None
        for line in (b"a\n", b"b\n"):
            time.sleep(0.2)
            os.write(write_end, line)
            assert process.stdout.readline() == f"{line!r}\n".encode()
        os.close(write_end)
    assert process.returncode == 0
