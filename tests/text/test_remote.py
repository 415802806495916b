"""Input from other file systems: real ones, and a real HTTP server that speaks S3."""

import bz2
import functools
import gzip
import http.server
import json
import lzma
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from s3_server import running_s3

from lmserve.errors import DependencyError, InputError
from lmserve.text.sources import find_files, line_number, read_blocks, require_regular, split
from lmserve.text.storage import file_system, shown

LINES = b"".join(b"line %d\n" % (i * 7919 % 1000) for i in range(3000))


def content(names: list[str], piece_bytes: int = 1000) -> bytes:
    return b"".join(
        block.data for piece in split(names, piece_bytes) for block in read_blocks(piece, 300)
    )


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, pyarrow.fs.S3FileSystem]]:
    """The query that leads URLs to a server of our own, and its file system."""
    with running_s3() as s3:
        yield s3


def put(system: pyarrow.fs.FileSystem, path: str, data: bytes) -> None:
    with system.open_output_stream(path, compression=None) as file:
        file.write(data)


@pytest.mark.parametrize("in_url", [False, True])
def test_who_has_keys_asks_no_machine_for_others(
    s3: tuple[str, pyarrow.fs.S3FileSystem], monkeypatch: pytest.MonkeyPatch, in_url: bool
) -> None:
    # Set first, so that it is taken back at the end.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    if in_url:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    file_system(f"s3://{'key:secret@' if in_url else ''}bucket/plain{s3[0]}")
    assert os.environ["AWS_EC2_METADATA_DISABLED"] == "true"


def test_s3_is_read_in_ranges(s3: tuple[str, pyarrow.fs.S3FileSystem]) -> None:
    query, system = s3
    put(system, "bucket/plain/a.txt", LINES)
    put(system, "bucket/plain/b c.txt", b"the last\n")
    names = find_files([f"s3://bucket/plain/*.txt{query}"])
    assert names == [f"s3://bucket/plain/{name}{query}" for name in ("a.txt", "b%20c.txt")]
    pieces = split(names, 1000)
    assert len(pieces) == -(-len(LINES) // 1000) + 1
    assert content(names) == LINES + b"the last\n"
    # What a piece holds does not depend on the others.
    assert b"".join(block.data for block in read_blocks(pieces[-1])) == b"the last\n"
    first = next(read_blocks(pieces[5])).data
    assert line_number(pieces[5], 0) == LINES[: LINES.index(first, 5000)].count(b"\n") + 1


def test_s3_compressed_json_and_parquet(s3: tuple[str, pyarrow.fs.S3FileSystem]) -> None:
    query, system = s3
    for suffix, data in {
        ".gz": gzip.compress(LINES),
        ".bz2": bz2.compress(LINES),
        ".xz": lzma.compress(LINES),
        ".zst": pa.compress(LINES, codec="zstd", asbytes=True),
    }.items():
        put(system, f"bucket/packed/text{suffix}", data)
        assert content([f"s3://bucket/packed/text{suffix}{query}"]) == LINES
    put(system, "bucket/d/texts.jsonl", b'{"text": "a\\nb"}\n{"text": "c"}\n')
    pq.write_table(
        pa.table({"text": ["d", "e", "f"]}), "bucket/d/texts.parquet", 1, filesystem=system
    )
    assert content(find_files([f"s3://bucket/**/texts.*{query}"]), 5) == b"a\nb\nc\nd\ne\nf\n"


@pytest.mark.parametrize("name", ["s3://bucket/none.txt", "s3://bucket/none/*.txt", "s3://bucket"])
def test_what_is_not_in_s3_is_named(s3: tuple[str, pyarrow.fs.S3FileSystem], name: str) -> None:
    with pytest.raises(InputError, match=r"no (such input )?file") as error:
        find_files([name + s3[0]])
    assert "Check the URL" in error.value.remedy


def test_a_damaged_file_in_s3_is_named(s3: tuple[str, pyarrow.fs.S3FileSystem]) -> None:
    query, system = s3
    put(system, "bucket/damaged.gz", gzip.compress(LINES)[:-40])
    with pytest.raises(InputError, match=r"cannot read s3://bucket/damaged\.gz"):
        content([f"s3://bucket/damaged.gz{query}"])


def test_urls_of_local_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_bytes(LINES)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "x"}))
    names = find_files([f"file://{tmp_path}/**/a.txt", f"file://{tmp_path}/b.jsonl"])
    assert content(names) == LINES + b"x\n"
    require_regular(names)
    with pytest.raises(InputError, match="Directory"):
        find_files([f"file://{tmp_path}/folder"])


def test_file_systems_of_fsspec() -> None:
    system = fsspec.filesystem("memory")
    for name in ("a", "b"):
        system.pipe(f"/texts/{name}.txt", LINES)
    names = find_files(["memory://texts/[ab].txt"])
    assert names == ["memory://texts/a.txt", "memory://texts/b.txt"]
    assert content(names) == LINES * 2


def test_text_from_a_web_server(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(LINES)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(LINES))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert content(find_files([f"{address}/a.txt.gz"])) == LINES
        with pytest.raises(InputError, match="no such input file"):
            find_files([f"{address}/none.txt"])
        server.shutdown()


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(InputError, match=r"cannot read no-such://x/y: .*no-such"):
        find_files(["no-such://x/y"])


def test_fsspec_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DependencyError, match="needs the package fsspec") as error:
        find_files(["memory://a"])
    assert "lmserve[remote]" in error.value.remedy


def test_passwords_are_not_shown() -> None:
    assert shown("s3://key:secret@bucket/a?x=y") == "s3://bucket/a?x=y"
    assert shown("no s3://key:secret@b/a and no gs://key@b/a") == "no s3://b/a and no gs://b/a"
    assert shown("/a:b@c") == "/a:b@c"
    with pytest.raises(InputError) as error:
        find_files(["no-such://user:secret@host/a"])
    assert "secret" not in str(error.value)
    with pytest.raises(InputError) as error:
        find_files(["s3://user:secret@host/a?no_such_option=1"])
    assert "secret" not in str(error.value)
