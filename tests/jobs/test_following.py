"""Jobs as programs follow them: metrics of all kinds of jobs, logs as JSON, reports of scores."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import zipf_text

import lmserve
from lmserve.metrics.sharing import exposition
from lmserve.score_summary import ScoreSummary
from lmserve.scorer import TextScores


def run(
    job: str, *arguments: object, metrics: Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(metrics)} | variables
    command = [sys.executable, "-m", f"jobs.{job}", *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=240, env=environment
    )


def events(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def test_a_build_is_followed(tiny_text: Path, tmp_path: Path) -> None:
    metrics, output = tmp_path / "metrics", tmp_path / "model"
    arguments = (tiny_text, "-o", output, "--order", 3, "--workers", 1, "--log-format", "json")
    done = run("build_ngram", *arguments, metrics=metrics, RAY_JOB_ID="raysubmit_1")
    assert done.returncode == 0, done.stderr
    log = events(done.stderr)
    assert all(event["run"] == "model" and event["kind"] == "build" for event in log)
    assert all(event["ray_job"] == "raysubmit_1" and event["time"] for event in log)
    started = [event["stage"] for event in log if event["message"] == "stage started"]
    finished = [event["stage"] for event in log if event["message"] == "stage finished"]
    assert started == finished
    assert "smooth" in finished
    assert (log[-1]["message"], log[-1]["state"]) == ("job ended", "done")
    assert (output / "report.html").is_file()
    again = run("build_ngram", *arguments, metrics=metrics)
    assert again.returncode == 1
    last = events(again.stderr)[-1]
    assert (last["level"], last["state"]) == ("error", "failed")
    assert "exists already" in last["error"]
    told = exposition(metrics).decode()
    assert 'lmserve_jobs_total{kind="build",state="done"} 1.0' in told
    assert 'lmserve_jobs_total{kind="build",state="failed"} 1.0' in told
    assert 'lmserve_build_tasks_total{run="model",stage="tokenize"} 1.0' in told
    assert "lmserve_job_last_progress_time_seconds" in told


def test_scores_leave_a_page(tiny_model_path: Path, tmp_path: Path) -> None:
    metrics, page = tmp_path / "metrics", tmp_path / "scores.html"
    text = zipf_text(50) + "never seen <b>\n"
    options = (tiny_model_path, "--report", page)
    result = run("score", *options, metrics=metrics, stdin=text)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 51
    assert str(page) in result.stderr
    assert "never seen" not in page.read_text()
    run("score", *options, "--report-texts", metrics=metrics, stdin=text)
    assert "never seen &lt;b&gt;" in page.read_text()
    assert 'lmserve_jobs_total{kind="score",state="done"} 2.0' in exposition(metrics).decode()


def test_ctrl_c_is_no_failure(tiny_model_path: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    command = [sys.executable, "-m", "jobs.score", str(tiny_model_path), "--log-format", "json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"w0 w1\n")
        process.stdin.flush()
        # Now it waits for more.
        assert process.stdout.readline()
        assert 'lmserve_job_running{kind="score",run="tiny"} 1.0' in exposition(metrics).decode()
        process.send_signal(signal.SIGINT)
        log = events(process.stderr.read().decode())
    assert process.returncode == 130
    assert (log[-1]["level"], log[-1]["state"]) == ("warning", "stopped")
    told = exposition(metrics).decode()
    assert 'lmserve_jobs_total{kind="score",state="stopped"} 1.0' in told
    assert 'lmserve_jobs_total{kind="score",state="failed"} 0.0' in told


def test_a_summary_agrees_with_all_scores(tiny_model: lmserve.NgramModel) -> None:
    lines = [line.encode() for line in zipf_text(500, seed=5).splitlines()]
    summary = ScoreSummary(keep_texts=True)
    parts = [tiny_model.score_texts(lines[i : i + 64]) for i in range(0, 500, 64)]
    for i, part in enumerate(parts):
        summary.add(part, lines[64 * i : 64 * i + 64])
    scores = TextScores.concatenate(parts)
    perplexity = scores.perplexity()[scores.tokens > 0]
    for part in (0.05, 0.5, 0.95):
        assert summary.quantile(part) == pytest.approx(np.quantile(perplexity, part), rel=0.07)
    highest = summary.highest()[0]
    assert highest.perplexity == perplexity.max()
    assert lines[highest.number - 1].decode() == highest.text
    assert summary.lowest()[0].perplexity == perplexity.min()
    assert summary.middle()[0].perplexity == pytest.approx(summary.quantile(0.5), rel=0.07)
    assert (summary.texts, summary.oov) == (500, scores.oov.sum())
    together = 10 ** (-scores.log10_prob.sum() / scores.tokens.sum())
    assert summary.perplexity == pytest.approx(together)
