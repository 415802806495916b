"""What Prometheus learns of a build, from the driver: once a task, never once an n-gram."""

from functools import partial

from prometheus_client import CollectorRegistry

from cluster.costs import StageReport, TaskReport
from cluster.task_summary import skew
from lmserve.metrics import families
from lmserve.metrics import job_metrics as declared


class BuildMetrics:
    """Counts what a build does: an `Observer`.

    Args:
        run: names the build.
    """

    def __init__(self, run: str) -> None:
        self.registry = CollectorRegistry()
        self._run = run
        self._stage, self._total, self._done = "", 1, 0
        self._tasks: list[TaskReport] = []
        self._restarts = 0
        counter = partial(families.counter, registry=self.registry)
        gauge = partial(families.gauge, registry=self.registry)
        self._progress = gauge(declared.STAGE_PROGRESS)
        self._seconds = gauge(declared.STAGE_SECONDS)
        self._finished = counter(declared.TASKS)
        self._task_seconds = families.histogram(declared.TASK_SECONDS, self.registry)
        self._rows = counter(declared.ROWS)
        self._words = counter(declared.WORDS)
        self._written = counter(declared.WRITTEN_BYTES)
        self._processor = counter(declared.PROCESSOR_SECONDS)
        self._temporary = gauge(declared.SPILLED_BYTES)
        self._memory = gauge(declared.PEAK_MEMORY)
        self._skew = gauge(declared.SKEW)
        self._workers = gauge(declared.WORKERS).labels(run)
        self._worker_restarts = counter(declared.WORKER_RESTARTS).labels(run)

    def stage_started(self, name: str, total: int) -> None:
        """Its progress is 0."""
        self._stage, self._total, self._done, self._tasks = name, total, 0, []
        self._progress.labels(self._run, name).set(0)

    def task_finished(self, report: TaskReport) -> None:
        """Counts the task."""
        self._tasks.append(report)
        self._finished.labels(self._run, self._stage).inc()
        self._task_seconds.labels(self._stage).observe(report.cost.wall_s)
        self._count(report.rows, report.cost.bytes_written, report.cost.cpu_s)
        if self._stage == "tokenize":
            self._words.labels(self._run).inc(report.rows)

    def advanced(self, amount: int) -> None:
        """The progress rises."""
        self._done += amount
        self._progress.labels(self._run, self._stage).set(self._done / max(self._total, 1))

    def stage_finished(self, report: StageReport) -> None:
        """Counts what the driver did beside the tasks, and what all came to."""
        labels = (self._run, report.name)
        costs = [task.cost for task in self._tasks]
        self._count(
            report.rows - sum(task.rows for task in self._tasks),
            # Where tasks are done in this process, its own costs have theirs in them.
            max(0, report.bytes_written - sum(cost.bytes_written for cost in costs)),
            max(0.0, report.cpu_s - sum(cost.cpu_s for cost in costs)),
        )
        self._progress.labels(*labels).set(1)
        self._seconds.labels(*labels).set(report.wall_s)
        self._memory.labels(*labels).set(report.peak_memory_bytes)
        if self._tasks:
            self._skew.labels(*labels).set(skew(self._tasks))

    def workers_started(self, workers: int, restarts: int) -> None:
        """Counts restarts that are new."""
        self._workers.set(workers)
        self._worker_restarts.inc(restarts - self._restarts)
        self._restarts = restarts

    def disk_used(self, size_bytes: int) -> None:
        """Tells it."""
        self._temporary.labels(self._run).set(size_bytes)

    def _count(self, rows: int, bytes_written: int, cpu_s: float) -> None:
        labels = (self._run, self._stage)
        self._rows.labels(*labels).inc(rows)
        self._written.labels(*labels).inc(bytes_written)
        self._processor.labels(*labels).inc(cpu_s)
