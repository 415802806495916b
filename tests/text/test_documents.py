import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve.errors import InputError
from lmserve.text.sources import Block, Piece, read_blocks, special_token_error, split

documents = st.lists(st.text("ab \u00fc\n", max_size=9), min_size=1, max_size=12)


def lines_of(texts: list[str]) -> bytes:
    return b"".join((text if text.endswith("\n") else text + "\n").encode() for text in texts)


def blocks_of(pieces: list[Piece], block_bytes: int = 1 << 20) -> list[Block]:
    return [block for piece in pieces for block in read_blocks(piece, block_bytes)]


def content(pieces: list[Piece], block_bytes: int = 1 << 20) -> bytes:
    return b"".join(block.data for block in blocks_of(pieces, block_bytes))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@given(documents, st.booleans(), st.integers(1, 99), st.integers(1, 40))
def test_json_lines_are_read_once_and_in_order(
    scratch: Path, texts: list[str], ended: bool, piece_bytes: int, block_bytes: int
) -> None:
    path = scratch / "texts.jsonl"
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n" * ended)
    assert content(split([path], piece_bytes), block_bytes) == lines_of(texts)


@given(documents, st.integers(1, 9), st.integers(1, 60), st.integers(1, 40))
def test_parquet_is_read_once_and_in_order(
    scratch: Path, texts: list[str], group_rows: int, piece_bytes: int, block_bytes: int
) -> None:
    path = scratch / "texts.parquet"
    table = pa.table({"id": range(len(texts)), "body": texts})
    pq.write_table(table, path, row_group_size=group_rows)
    pieces = split([path], piece_bytes, "body")
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert content(pieces, block_bytes) == lines_of(texts)


def test_parquet_is_cut_between_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    table = pa.table({"text": [f"document {i * 7919 % 1000} " * 20 for i in range(1000)]})
    pq.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)
    pieces = split([path], 100_000)
    expected = [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert [(piece.start, piece.end) for piece in pieces] == expected
    assert all(piece.size_bytes <= 100_000 for piece in pieces)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_every_kind_of_text_column(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "texts.parquet"
    texts = ["a b", "", "c\nd\n", "a b"]
    pq.write_table(pa.table({"text": pa.array(texts).cast(kind)}), path)
    assert content(split([path], 1000)) == b"a b\n\nc\nd\na b\n"


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".ndjson.gz"])
def test_compressed_json_lines(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"texts{suffix}"
    path.write_bytes(gzip.compress(b'{"text": "a b"}\n\n{"text": "c"}\n'))
    assert content(split([path], 10)) == b"a b\nc\n"


def test_blank_lines_are_no_sentences(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'\n \n\n{"text": ""}\n\n\n')
    blocks = [block for piece in split([path], 2) for block in read_blocks(piece)]
    assert [line for block in blocks for line in block.lines()] == [b""]


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        (b"a b c", "no JSON", "one JSON object a line"),
        (b'{"text": "a', "no JSON", "one JSON object a line"),
        (b'{"text": "\xff"}', "no JSON", "UTF-8"),
        (b'{"text": null}', "field 'text' is no text but null", "--text-column"),
        (b'{"text": ["a"]}', "field 'text' is no text but list", "--text-column"),
        (b'{"body": "a", "id": 1}', "its fields are 'body', 'id'", "--text-column"),
        (b'"a"', "a JSON str, no object", "one JSON object a line"),
        (b'{"text": "a\\u0000"}', "a zero byte", "U\\+0000"),
        (b'{"text": "b\\nc <s>"}', "holds <s>", "--special-tokens space"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [20, 10_000])
def test_a_bad_line_is_named(
    tmp_path: Path, line: bytes, message: str, remedy: str, piece_bytes: int
) -> None:
    path = tmp_path / "texts.jsonl"
    good = b'{"text": "two\\nlines"}\n'
    path.write_bytes(good * 5 + b"\n" + good + line + b"\n" + good)
    with pytest.raises(InputError, match=rf"texts\.jsonl, line 8: .*{message}") as error:
        refuse_marks(split([path], piece_bytes))
    assert pytest.RaisesExc(InputError, match=remedy).matches(error.value)


def refuse_marks(pieces: list[Piece]) -> None:
    for piece in pieces:
        for block in read_blocks(piece, 50):
            mark = block.data.find(b"<s>")
            if mark >= 0:
                raise special_token_error(piece, block, mark)


@pytest.mark.parametrize("bad", [None, "a <s>", "a\0"])
def test_a_bad_row_is_named(tmp_path: Path, bad: str | None) -> None:
    path = tmp_path / "texts.parquet"
    texts = ["two\nlines"] * 7 + [bad] + ["two\nlines"]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=3)
    with pytest.raises(InputError, match=r"texts\.parquet, row 8: "):
        refuse_marks(split([path], 1))


def test_a_missing_column_names_those_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"body": ["a"], "id": [1]}), path)
    with pytest.raises(InputError, match="no column 'text'; its columns are 'body', 'id'") as error:
        split([path], 10)
    assert "--text-column" in error.value.remedy
    with pytest.raises(InputError, match=r"column 'id' of .* is no text but int64"):
        split([path], 10, "id")


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    path.write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(InputError, match=r"cannot read .*texts\.parquet: damaged"):
        split([path], 10)
    with pytest.raises(InputError, match="is a compressed Parquet file"):
        split([tmp_path / "texts.parquet.gz"], 10)


def test_parquet_without_rows_is_empty_input(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    with pytest.raises(InputError, match=r"the input is empty: .*texts\.parquet"):
        content(split([path], 10))
