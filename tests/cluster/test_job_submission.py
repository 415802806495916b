"""Jobs as a cluster runs them: `ray job submit --working-dir . -- python -m jobs.NAME ...`."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient
from ray_head import ROOT, TIMEOUT_S, RayHead, running_head

import lmserve


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    """A cluster of one node, started for these tests."""
    with running_head() as head, pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "disabled")
        yield head


def test_a_build_is_a_job(head: RayHead, tiny_text: Path, tiny_model_path: Path) -> None:
    output = tiny_text.parent / "submitted"
    job = ["python", "-m", "jobs.build_ngram", str(tiny_text), "--output", str(output)]
    result = head.submit(*job, "--order", "3", "--workers", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tokenize: " in result.stdout
    assert lmserve.load(output).digest == lmserve.load(tiny_model_path).digest


def test_a_job_that_fails_says_why(head: RayHead, tmp_path: Path) -> None:
    result = head.submit("python", "-m", "jobs.evaluate", str(tmp_path), str(tmp_path / "text"))
    assert result.returncode == 1
    assert "is not a model" in result.stdout


def test_a_build_that_is_stopped_goes_on(
    head: RayHead, text: Path, tmp_path: Path, expected: str
) -> None:
    output = tmp_path / "model"
    job = ["python", "-m", "jobs.build_ngram", str(text), "--output", str(output)]
    job += ["--order", "4", "--workers", "2"]
    said, seconds = stopped_after(head, "build", job, "tokenize: ")
    # The driver had the time to end in good order, before Ray would have killed it.
    assert "stopped; what is done is kept in" in said, said
    assert "--resume goes on" in said
    assert "Traceback" not in said
    assert "SIGTERM received" not in said
    assert seconds < 10
    assert "was stopped" in head.job("status", "build")
    assert not output.exists()
    assert list((tmp_path / "model.building").glob("pieces/0*"))
    result = head.submit(*job, "--resume")
    assert result.returncode == 0, result.stdout + result.stderr
    assert lmserve.load(output).digest == expected


def test_a_scoring_that_is_stopped_goes_on(
    head: RayHead, tiny_text: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    text, output = tmp_path / "text", tmp_path / "scored"
    text.write_text(tiny_text.read_text() * 30)
    job = ["python", "-m", "jobs.score_corpus", str(tiny_model_path), str(text)]
    job += ["--output", str(output), "--part-size", "2k"]
    said, _ = stopped_after(head, "scoring", job, "scored 10%")
    assert f"stopped; finished parts are kept in {output}: --resume goes on" in said, said
    result = head.submit(*job, "--resume")
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((output / "summary.json").read_text())
    assert summary["rows"] == 30 * 600
    assert 0 < summary["rows_scored_now"] < summary["rows"]


def stopped_after(head: RayHead, name: str, job: list[str], words: str) -> tuple[str, float]:
    """Submits a job, and stops it as `ray job stop` does as soon as its log has these words.

    Returns:
        Its log, as `ray job logs` gives it; seconds that it took to end.
    """
    head.job(
        *("submit", "--submission-id", name, "--no-wait", "--working-dir", str(ROOT), "--", *job)
    )
    # The command line itself would take seconds to start.
    client = JobSubmissionClient(head.dashboard)
    deadline_s = time.monotonic() + TIMEOUT_S
    while words not in (said := client.get_job_logs(name)):
        assert not client.get_job_status(name).is_terminal(), said
        assert time.monotonic() < deadline_s, said
        time.sleep(0.05)
    began_s = time.monotonic()
    assert client.stop_job(name)
    while not client.get_job_status(name).is_terminal():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    seconds = time.monotonic() - began_s
    return head.job("logs", name), seconds
