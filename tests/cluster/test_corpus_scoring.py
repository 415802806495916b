"""Scoring a corpus: the scores that a text has everywhere, whatever dies or stops on the way."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from mixable import train_network
from scored_corpora import config

import lmserve
from cluster.corpus_actors import Actor, _Attempts
from cluster.corpus_scoring import score_corpus
from cluster.corpus_worker import CorpusTask
from lmserve.errors import ScoringError
from lmserve.evaluation import evaluate
from lmserve.text.sources import BLOCK_BYTES, read_blocks, split

pytestmark = pytest.mark.usefixtures("ray_session")

COLUMNS = ("log10_prob", "perplexity", "tokens", "oov")


def rows(output: Path, summary: Mapping[str, Any]) -> pa.Table:
    """All parts, in the input's order."""
    return pa.concat_tables([pq.read_table(output / part["part"]) for part in summary["parts"]])


def row_numbers(output: Path, summary: Mapping[str, Any]) -> list[int]:
    """Of all rows, their numbers in their file."""
    return [
        part["first_row"] + row - 1
        for part in summary["parts"]
        for row in pq.read_table(output / part["part"])["row"].to_pylist()
    ]


def expected(model: Path, path: Path) -> list[dict[str, Any]]:
    """What `lmserve score` says of every line."""
    scorer = lmserve.load(model)
    return [
        {name: getattr(score, name) for name in COLUMNS}
        for piece in split([path], BLOCK_BYTES)
        for block in read_blocks(piece)
        for score in scorer.score_texts(block.lines()).rows()
    ]


def test_every_line_has_the_score_it_has_everywhere(
    tiny_model_path: Path, corpus: Path, tmp_path: Path
) -> None:
    summary = score_corpus(config(tiny_model_path, corpus, output=tmp_path / "scored"))
    found = rows(tmp_path / "scored", summary)
    assert len(summary["parts"]) > 4
    assert found.select(COLUMNS).to_pylist() == expected(tiny_model_path, corpus)
    lines = corpus.read_bytes().split(b"\n")
    assert found["text"].to_pylist() == [line.decode(errors="replace") for line in lines]
    assert set(found["source"].to_pylist()) == {str(corpus)}
    assert row_numbers(tmp_path / "scored", summary) == list(range(1, len(lines) + 1))
    scorer = lmserve.load(tiny_model_path)
    whole = evaluate(scorer, split([corpus], BLOCK_BYTES), lmserve.SpecialTokens.SPACE)
    assert summary["rows"] == summary["kept"] == whole.sentences == len(lines)
    assert (summary["tokens"], summary["oov"]) == (whole.tokens, whole.oov)
    assert summary["words"] == whole.tokens - len(lines)
    assert summary["perplexity"] == pytest.approx(whole.perplexity)
    assert summary["digest"] == scorer.digest
    assert summary == json.loads((tmp_path / "scored" / "summary.json").read_text())
    # Nothing else is left.
    assert {path.name for path in (tmp_path / "scored").iterdir()} == {
        "summary.json",
        *(part["part"] for part in summary["parts"]),
    }


def test_networks_score_as_everywhere(tiny_text: Path, corpus: Path, tmp_path: Path) -> None:
    network = train_network(tiny_text, tmp_path / "network")
    summary = score_corpus(
        config(network, corpus, output=tmp_path / "scored", part_bytes=None, keep_text=False)
    )
    found = rows(tmp_path / "scored", summary)
    assert found.select(COLUMNS).to_pylist() == expected(network, corpus)
    assert "text" not in found.column_names


def test_a_document_is_one_row_with_the_fields_that_are_kept(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    texts = ["w0 w1\nw2", "w3 w4 w5", "", "w1\n\nw2\n"] * 50
    ids = [f"doc-{i}" for i in range(len(texts))]
    table = pa.table({"body": texts, "id": ids, "year": range(len(texts))})
    pq.write_table(table, tmp_path / "docs.parquet", row_group_size=30)
    lines = [
        json.dumps({"body": text, "id": name, "year": {"is": year}})
        for text, name, year in zip(texts, ids, range(len(texts)), strict=True)
    ]
    # Blank lines are no records.
    (tmp_path / "docs.jsonl").write_text("\n\n".join(lines) + "\n")
    model = lmserve.load(tiny_model_path)
    scores = [sum(map(model.score, text.removesuffix("\n").split("\n"))) for text in texts]
    for kind, years in (
        ("parquet", list(range(len(texts)))),
        ("jsonl", [f'{{"is":{year}}}' for year in range(len(texts))]),
    ):
        output = tmp_path / kind
        summary = score_corpus(
            config(
                tiny_model_path,
                tmp_path / f"docs.{kind}",
                output=output,
                text_column="body",
                keep_columns=("id", "year"),
                part_bytes=500,
            )
        )
        found = rows(output, summary)
        assert found["text"].to_pylist() == [text.removesuffix("\n") for text in texts]
        assert found["id"].to_pylist() == ids
        assert found["year"].to_pylist() == years
        assert found["log10_prob"].to_pylist() == pytest.approx(scores)
        assert found["tokens"].to_pylist()[:4] == [5, 4, 1, 5]
        assert len(summary["parts"]) > 1
        assert (summary["rows"], summary["lines"]) == (200, 50 * 7)
        step = 1 if kind == "parquet" else 2
        assert row_numbers(output, summary) == list(range(1, 1 + 200 * step, step))


def test_texts_outside_the_bounds_are_left_out(
    tiny_model_path: Path, corpus: Path, tmp_path: Path
) -> None:
    low, high = 20.0, 60.0
    summary = score_corpus(
        config(
            tiny_model_path, corpus, output=tmp_path / "s", min_perplexity=low, max_perplexity=high
        )
    )
    found = rows(tmp_path / "s", summary)
    every = [row["perplexity"] for row in expected(tiny_model_path, corpus)]
    inside = [perplexity for perplexity in every if low <= perplexity <= high]
    assert 0 < len(inside) < len(every)
    assert found["perplexity"].to_pylist() == inside
    assert (summary["rows"], summary["kept"]) == (len(every), len(inside))
    assert summary["quantiles"]["0.5"] == pytest.approx(sorted(every)[len(every) // 2], rel=0.07)


class KillOneWorker:
    """Kills a worker's process when the first part is done."""

    killed = 0

    def __call__(self, all_bytes: int, part_bytes: int, totals: Mapping[str, Any]) -> None:
        if not self.killed:
            processes = psutil.Process().children(recursive=True)
            titles = {process.pid: " ".join(process.cmdline()) for process in processes}
            self.killed = next(pid for pid, title in titles.items() if "MapWorker" in title)
            psutil.Process(self.killed).kill()


def test_a_killed_worker_costs_time_only(
    tiny_model_path: Path, corpus: Path, tmp_path: Path
) -> None:
    watch = KillOneWorker()
    # Some seconds of work after the first part.
    settings = config(tiny_model_path, corpus, output=tmp_path / "scored", part_bytes=500)
    summary = score_corpus(settings, watch)
    assert watch.killed
    found = rows(tmp_path / "scored", summary)
    assert found.select(COLUMNS).to_pylist() == expected(tiny_model_path, corpus)
    assert not list((tmp_path / "scored").glob(".*"))


def test_a_piece_that_kills_every_worker_is_given_up(
    tiny_model_path: Path, tiny_model: lmserve.NgramModel, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("w0\n")
    [piece] = split([text], 100)
    task = CorpusTask(
        model=str(tiny_model_path),
        digest=tiny_model.digest,
        output=str(tmp_path),
        special_tokens=None,
        min_perplexity=None,
        max_perplexity=None,
        keep_text=True,
        keep_columns=(),
    )
    attempts: Any = ray.remote(num_cpus=0)(_Attempts).remote()
    work = {
        "piece": {name: getattr(piece, name) for name in piece.__slots__},
        "version": [3, None],
    }
    tries = []
    for _ in range(5):
        # As after the death of the one before.
        [result] = Actor(task, None, attempts)({"work": [json.dumps(work)]})["result"]
        tries.append(json.loads(result))
    assert [list(one) for one in tries] == [["index", "totals"]] * 4 + [["error"]]
    assert "4 workers died of it" in tries[-1]["error"][1]


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_stopped_scoring_goes_on_with_what_is_missing(
    tiny_model_path: Path, corpus: Path, tmp_path: Path
) -> None:
    output, other = tmp_path / "scored", tmp_path / "other.txt"
    other.write_text("w0 w1\n" * 3)
    settings = config(tiny_model_path, corpus, other, output=output)
    with pytest.raises(KeyboardInterrupt):
        score_corpus(settings, stop)
    assert not (output / "summary.json").exists()
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    assert before
    with pytest.raises(ScoringError, match="there is an unfinished scoring in"):
        score_corpus(settings)
    resumed = replace(settings, resume=True)
    summary = score_corpus(resumed)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert found_rows(output, summary) == found_rows(
        tmp_path / "whole", score_corpus(replace(settings, output=str(tmp_path / "whole")))
    )
    with pytest.raises(ScoringError, match="there is a scoring in"):
        score_corpus(settings)
    # Only what changed is done again, and what is no input any more is deleted.
    other.write_text("w0\n")
    every = {path.name: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    summary = score_corpus(resumed)
    changed = {
        path.name
        for path in output.glob("*.parquet")
        if path.stat().st_mtime_ns != every[path.name]
    }
    [only] = changed
    assert only.startswith("other.txt-")
    assert (summary["rows"], summary["rows_scored_now"]) == (2006 + 1, 1)
    summary = score_corpus(replace(resumed, inputs=(str(corpus),)))
    assert (summary["rows"], summary["rows_scored_now"]) == (2006, 0)
    assert not (output / only).exists()
    # Other bounds are another content of every part.
    summary = score_corpus(replace(resumed, inputs=(str(corpus),), max_perplexity=50.0))
    assert summary["rows_scored_now"] == 2006
    summary = score_corpus(replace(settings, overwrite=True))
    assert summary["rows_scored_now"] == 2007


def found_rows(output: Path, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(rows(output, summary).to_pylist())
