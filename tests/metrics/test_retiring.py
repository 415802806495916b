"""What processes counted that died, and that somebody is putting together who dies, too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmserve.metrics import retiring
from lmserve.metrics.sharing import exposition

PROGRAM = Path(__file__).with_name("killed_merging.py")


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_step_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), str(seed)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    after_each_kill = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(after_each_kill) > 30
    for told, counted in after_each_kill:
        assert told == counted


def test_the_folder_does_not_grow_with_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
from prometheus_client import CollectorRegistry
from lmserve.metrics import families, job_metrics, service_metrics
registry = CollectorRegistry()
families.counter(service_metrics.SENTENCES, registry).inc()
families.gauge(service_metrics.SESSIONS, registry).inc()
families.gauge(job_metrics.ADVANCED, registry).labels("r", "build").set(7)
families.histogram(service_metrics.SENTENCE_PERPLEXITY, registry).observe(1)
"""
    for count in range(1, 4):
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        text = exposition(tmp_path).decode()
        assert f"lmserve_sentences_total {count}.0" in text
        assert "lmserve_sessions" not in text
        last = 'lmserve_job_last_progress_time_seconds{kind="build",run="r"} 7.0'
        assert last in text
    assert len(list(tmp_path.glob("gauge_mostrecent_*"))) == 3
    monkeypatch.setattr(retiring, "LATEST_S", 0)
    assert "lmserve_job_last_progress_time_seconds" not in exposition(tmp_path).decode()
    left = {path.name for path in tmp_path.rglob("*")}
    sums = {"counter_retired.db", "histogram_retired.db", "names.json"}
    assert left == {"retiring.lock", "retired-3"} | sums
