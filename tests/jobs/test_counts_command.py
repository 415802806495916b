"""`lmserve counts` as users meet it."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from corpora import zipf_text


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "jobs.counts", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def test_counts_from_a_pipe(tmp_path: Path) -> None:
    output = tmp_path / "counts"
    options = ("--order", 3, "--min-count", 2, "--workers", 1)
    result = run("-", "--output", output, *options, stdin=zipf_text(600).encode())
    message = result.stderr.decode()
    assert result.returncode == 0, message
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]
    facts = json.loads((output / "_counts.json").read_text())
    assert f"{facts['words']:,} words in 600 sentences" in message
    assert f"'{output}/order=3/*.parquet'" in message
    dataset = ds.dataset(output, format="parquet", partitioning="hive")
    assert dataset.count_rows() == sum(facts["rows"]) > 1000
    assert dataset.count_rows(filter=ds.field("count") < 2) == 0


def test_bytes_that_are_no_text_are_told_of(tmp_path: Path) -> None:
    output = tmp_path / "counts"
    result = run("-", "--output", output, "--order", 1, "--workers", 1, stdin=b"caf\xe9 au lait\n")
    assert "distinct words that are no UTF-8: 1;" in result.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["--min-count", "0"], 2, "min-count is 0"),
        (["--order", "0"], 2, "order is 0"),
        (["--resume"], 1, "nothing to resume"),
        ([], 1, "line 1: the text holds <s>"),
    ],
)
def test_errors(tmp_path: Path, arguments: list[str], status: int, problem: str) -> None:
    text = tmp_path / "text"
    text.write_text("<s> a\n")
    result = run(text, "-o", tmp_path / "counts", "--workers", 1, *arguments)
    assert result.returncode == status
    assert problem in result.stderr.decode()
    assert b"Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
