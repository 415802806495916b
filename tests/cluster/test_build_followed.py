"""What Prometheus and people learn of a build: tasks, workers that died, disk, and a page."""

import json
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry

from cluster.build import build
from cluster.build_metrics import BuildMetrics
from cluster.build_report import write_build_report
from cluster.config import BuildConfig
from cluster.costs import Cost, TaskReport
from cluster.counts import CountsConfig, count
from cluster.progress import Several, Silent
from cluster.task_summary import skew, spans

COST = Cost(wall_s=1.0, cpu_s=0.5, io_s=0.5, bytes_written=10, peak_memory_bytes=100)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(f"lmserve_build_{name}", {"run": "model", **labels})
    assert found is not None, name
    return found


class KillWorkers(Silent):
    """Kills each worker once, when a stage of its own begins to move."""

    def __init__(self) -> None:
        self.killed: set[int] = set()
        self._stage = ""

    def stage_started(self, name: str, total: int) -> None:
        self._stage = name

    def advanced(self, amount: int) -> None:
        if self._stage == "count" and len(self.killed) < 2:
            processes = psutil.Process().children(recursive=True)
            workers = [p for p in processes if "NgramWorker" in " ".join(p.cmdline())]
            for worker in workers:
                if worker.pid not in self.killed and len(self.killed) < 2:
                    self.killed.add(worker.pid)
                    worker.kill()


@pytest.mark.usefixtures("ray_session")
def test_metrics_say_what_the_summary_says(text: Path, tmp_path: Path, expected: str) -> None:
    metrics, killer = BuildMetrics("model"), KillWorkers()
    config = BuildConfig(
        inputs=(str(text),), output=tmp_path / "model", order=4, workers=2, memory_bytes=64 << 20
    )
    assert build(config, Several(metrics, killer)).digest == expected
    summary = json.loads((config.output / "build.json").read_text())
    registry = metrics.registry
    assert value(registry, "worker_restarts_total") == len(killer.killed) == 2
    assert len(summary["restarts"]) == 2
    assert value(registry, "workers") == 2
    for stage in summary["stages"]:
        name = stage["name"]
        assert value(registry, "rows_total", stage=name) == stage["rows"]
        assert value(registry, "stage_progress_ratio", stage=name) == 1
        assert value(registry, "stage_seconds", stage=name) == stage["wall_s"]
        assert value(registry, "written_bytes_total", stage=name) == stage["bytes_written"]
        cpu_s = value(registry, "processor_seconds_total", stage=name)
        assert cpu_s == pytest.approx(stage["cpu_s"])
    for tasks in summary["tasks"]:
        assert value(registry, "tasks_total", stage=tasks["stage"]) == tasks["tasks"]
        assert sum(span["tasks"] for span in tasks["spans"]) == tasks["tasks"]
        assert value(registry, "skew_ratio", stage=tasks["stage"]) >= 1
    words = next(stage["rows"] for stage in summary["stages"] if stage["name"] == "tokenize")
    assert value(registry, "words_total") == words
    assert value(registry, "temporary_bytes") > 0
    page = Path(write_build_report(config)).read_text()
    assert "started again 2 times" in page
    assert expected in page


def test_counts_leave_a_page_that_no_reader_takes_for_data(tiny_text: Path, tmp_path: Path) -> None:
    config = CountsConfig(inputs=(str(tiny_text),), output=tmp_path / "counts", order=2)
    counts = count(config, on_ray=False)
    path = Path(write_build_report(config))
    assert path.name == "_report.html"
    assert f"{counts.rows[1]:,}" in path.read_text()
    assert "No worker died" in path.read_text()


def test_a_page_changes_nothing_of_a_model(tiny_text: Path, tmp_path: Path) -> None:
    config = BuildConfig(inputs=(str(tiny_text),), output=tmp_path / "a <b>", order=2)
    digest = build(config, on_ray=False).digest
    page = Path(write_build_report(config)).read_text()
    assert "a &lt;b&gt;" in page
    assert "<script" not in page
    again = BuildConfig(inputs=(str(tiny_text),), output=config.output, order=2, overwrite=True)
    assert build(again, on_ray=False).digest == digest


def test_many_tasks_take_bounded_room() -> None:
    tasks = [
        TaskReport(rows=i, cost=COST, began_s=1000.0 + i // 7, worker=i % 7) for i in range(10_000)
    ]
    found = spans(tasks)
    assert len(found) <= 240
    assert sum(span.tasks for span in found) == 10_000
    assert sum(span.rows for span in found) == sum(range(10_000))
    assert skew(tasks) == 1
    few = spans(tasks[:50])
    assert len(few) == 50
