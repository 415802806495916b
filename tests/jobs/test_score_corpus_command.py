"""`lmserve score-corpus` as a process of its own, on a Ray with one processor."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_server import running_s3

import lmserve
from lmserve.publishing.remote_models import upload
from lmserve.remote_folder import RemoteFolder

JOB = [sys.executable, "-m", "jobs.score_corpus"]


def test_all_by_url_on_one_processor(
    tiny_text: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    with running_s3() as (query, system):
        model, output = f"s3://bucket/model{query}", f"s3://bucket/some/scored{query}"
        upload(tiny_model_path, RemoteFolder(model))
        RemoteFolder(f"s3://bucket/texts{query}").put("lines.txt", tiny_text)
        job = [*JOB, model, f"s3://bucket/texts/*.txt{query}", "--output", output]
        job += ["--workers", "1", "--part-size", "5k", "--log-format", "json", "--json"]
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
        result = subprocess.run(job, capture_output=True, text=True, timeout=200, env=environment)
        assert result.returncode == 0, result.stderr
        summary = json.loads(result.stdout)
        # Nothing but events, whatever Ray has to say.
        events = [json.loads(line) for line in result.stderr.splitlines()]
        assert RemoteFolder(output).files() == sorted(
            ["summary.json", *(part["part"] for part in summary["parts"])]
        )
        found = pa.concat_tables(
            pq.read_table(f"bucket/some/scored/{part['part']}", filesystem=system)
            for part in summary["parts"]
        )
    assert len(summary["parts"]) > 2
    lines = tiny_text.read_text().splitlines()
    assert found["text"].to_pylist() == lines
    scores = lmserve.load(tiny_model_path).score_texts(lines)
    assert found["log10_prob"].to_pylist() == scores.log10_prob.tolist()
    assert summary["model"] == "s3://bucket/model" + query
    assert events[0]["message"] == "job started"
    assert events[0]["run"] == "scored"
    parts = [event for event in events if event["message"] == "part scored"]
    assert parts[-1]["done"] == 1
    assert events[-2]["message"] == "corpus scored"
    assert (events[-1]["message"], events[-1]["state"]) == ("job ended", "done")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_stopped_job_says_how_to_go_on(
    tiny_text: Path, tiny_model_path: Path, tmp_path: Path, number: int, status: int
) -> None:
    text, output = tmp_path / "text", tmp_path / "scored"
    text.write_text(tiny_text.read_text() * 20)
    job = [*JOB, str(tiny_model_path), str(text), "--output", str(output), "--workers", "1"]
    with subprocess.Popen(
        [*job, "--part-size", "2k"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("scored 10%"):
                process.send_signal(number)
                break
        said = process.stderr.read()
        assert process.wait(60) == status
    assert "stopped; finished parts are kept in" in said
    assert "--resume goes on" in said
    assert "Traceback" not in said
    assert list(output.glob("*.parquet"))
    assert not (output / "summary.json").exists()
