"""Files scored by either client, in one run or in several."""

from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pytest
from client_kinds import KINDS, call
from raw_server import Handle, raw_server, read_texts, scoring, streamed

from lmserve.errors import OptionError, ServiceError

pytestmark = pytest.mark.parametrize("kind", KINDS)

# Told apart by their lengths; a carriage return and an invalid byte count as characters.
LINES = [b"", b"a", b"b\r", b"cc\xff", b"dddd", b"eeeee"]
EXPECTED = [float(-number) for number in range(6)]
ONE_AT_A_TIME = {"batch": 2, "client": {"in_flight": 1}}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\n".join(LINES))
    return path


def log10_probs(path: Path) -> list[Any]:
    return [orjson.loads(line)["log10_prob"] for line in path.read_bytes().splitlines()]


def breaking_after(blocks: int, asked: list[str]) -> Handle:
    """Answers some requests, keeps what is asked, and then ends the connection."""

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        for _ in range(blocks):
            texts = read_texts(reader)
            asked.extend(texts)
            writer.write(streamed(*texts))

    return handle


def test_every_line_has_an_answer(kind: str, text: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers"
    with raw_server(scoring) as url:
        assert call(kind, url, "score_file", text, output, **ONE_AT_A_TIME) == 6
    assert log10_probs(output) == EXPECTED
    assert not (tmp_path / "answers.partial").exists()


@pytest.mark.parametrize("torn", [b"", b'{"log10_prob":-4.0,"tok'])
def test_the_next_run_goes_on_where_one_broke_off(
    kind: str, text: Path, tmp_path: Path, torn: bytes
) -> None:
    output, partial = tmp_path / "answers", tmp_path / "answers.partial"
    asked: list[str] = []
    with raw_server(breaking_after(2, asked)) as url, pytest.raises(ServiceError):
        call(kind, url, "score_file", text, output, **ONE_AT_A_TIME)
    assert not output.exists()
    assert log10_probs(partial) == EXPECTED[:4]
    with partial.open("ab") as file:
        file.write(torn)
    asked.clear()
    with raw_server(breaking_after(2, asked)) as url:
        assert call(kind, url, "score_file", text, output, **ONE_AT_A_TIME) == 6
    assert log10_probs(output) == EXPECTED
    assert [len(line) for line in asked] == [3, 4, 5]


def test_answers_of_another_model_are_not_gone_on_with(
    kind: str, text: Path, tmp_path: Path
) -> None:
    partial = tmp_path / "answers.partial"
    partial.write_bytes(b'{"log10_prob":-7.0,"tokens":1,"oov":0}\n')
    with raw_server(scoring) as url, pytest.raises(ServiceError, match=r"line 1 of .* otherwise"):
        call(kind, url, "score_file", text, tmp_path / "answers", **ONE_AT_A_TIME)
    assert partial.read_bytes().count(b"\n") == 1


def test_an_output_is_not_written_over(kind: str, text: Path, tmp_path: Path) -> None:
    (tmp_path / "answers").touch()
    with pytest.raises(OptionError, match="answers exists"):
        call(kind, "http://h", "score_file", text, tmp_path / "answers")


def test_files_that_cannot_be_used_are_named(kind: str, text: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none/answers"):
        call(kind, "http://h", "score_file", text, tmp_path / "none" / "answers")
    with pytest.raises(OptionError, match=r"none\.txt"):
        call(kind, "http://h", "score_file", tmp_path / "none.txt", tmp_path / "answers")
