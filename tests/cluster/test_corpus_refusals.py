"""Scoring a corpus: what is damaged, empty, somebody else's or cannot work."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_corpora import config

from cluster.corpus_config import CorpusConfig
from cluster.corpus_scoring import score_corpus
from cluster.sharing import require_seen
from lmserve.errors import InputError, LmserveError, ModelError, OptionError, ScoringError

pytestmark = pytest.mark.usefixtures("ray_session")


def test_damaged_input_is_named_and_what_is_done_is_kept(
    tiny_model_path: Path, corpus: Path, tmp_path: Path
) -> None:
    output, damaged = tmp_path / "scored", tmp_path / "b.txt.gz"
    content = gzip.compress(corpus.read_bytes())
    damaged.write_bytes(content[:-20])
    settings = config(tiny_model_path, corpus, damaged, output=output)
    with pytest.raises(InputError, match=r"cannot read .*b\.txt\.gz: damaged"):
        score_corpus(settings)
    assert not list(output.glob("b.txt.gz*"))
    damaged.write_bytes(content)
    summary = score_corpus(replace(settings, resume=True))
    assert summary["rows"] == 2 * 2006
    binary = tmp_path / "binary"
    binary.write_bytes(b"w0\nw1 \0\n")
    with pytest.raises(InputError, match=r"binary, line 2: a zero byte"):
        score_corpus(config(tiny_model_path, binary, output=tmp_path / "other"))


def test_empty_files_have_no_part_and_empty_input_is_refused(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.write_text("")
    text.write_text("w0\n")
    with pytest.raises(InputError, match="the input is empty"):
        score_corpus(config(tiny_model_path, empty, output=tmp_path / "scored"))
    # Named twice, and scored once.
    summary = score_corpus(config(tiny_model_path, empty, text, text, output=tmp_path / "scored"))
    assert (summary["rows"], len(summary["parts"])) == (1, 1)


def test_what_is_not_ours_is_not_touched(tiny_model_path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("w0\n")
    (tmp_path / "scored").mkdir()
    (tmp_path / "scored" / "mine.parquet").write_text("mine")
    with pytest.raises(ScoringError, match=r"holds 'mine\.parquet'"):
        score_corpus(config(tiny_model_path, text, output=tmp_path / "scored", overwrite=True))
    assert (tmp_path / "scored" / "mine.parquet").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "error", "problem"),
    [
        ({"max_perplexity": 0.0}, OptionError, "perplexities from None to 0.0"),
        ({"min_perplexity": 5.0, "max_perplexity": 4.0}, OptionError, "at least 5.0 and at most"),
        ({"keep_columns": ("id",)}, OptionError, "plain text, which has no column 'id'"),
        ({"keep_columns": ("row",)}, OptionError, "columns to keep are row"),
        ({"part_bytes": 0}, OptionError, "part-size is 0"),
        ({"workers": 0}, OptionError, "workers is 0"),
        ({"workers": 400}, OptionError, "400 workers on a cluster of 6"),
        ({"role": "build"}, OptionError, "none of the cluster's 1 nodes has the role 'build'"),
        ({"gpus": True}, OptionError, "1 workers on a cluster of 0 GPUs"),
        ({"resume": True, "overwrite": True}, OptionError, "--resume keeps what --overwrite"),
        ({"model": "none"}, ModelError, "is not a model"),
        ({"inputs": ("/dev/null",)}, InputError, "can be read only once"),
    ],
)
def test_what_cannot_work_is_refused(
    tiny_model_path: Path,
    corpus: Path,
    tmp_path: Path,
    more: dict[str, Any],
    error: type[LmserveError],
    problem: str,
) -> None:
    settings = {"model": str(tiny_model_path), "inputs": (str(corpus),)} | more
    with pytest.raises(error, match=problem):
        score_corpus(CorpusConfig(output=str(tmp_path / "scored"), **settings))


def test_a_column_that_a_file_lacks_is_named(tiny_model_path: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["w0"], "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"has no column 'url'; its columns are 'text', 'id'"):
        score_corpus(
            config(
                tiny_model_path,
                tmp_path / "a.parquet",
                output=tmp_path / "scored",
                keep_columns=("url",),
            )
        )


def test_a_node_that_does_not_see_a_path_is_named(tmp_path: Path) -> None:
    require_seen(str(tmp_path), "the model")
    require_seen("s3://bucket/model", "the model")
    with pytest.raises(ScoringError, match=r"the node \S+ \(\S+\) does not see the model '.*none'"):
        require_seen(str(tmp_path / "none"), "the model")
