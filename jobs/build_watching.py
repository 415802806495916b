"""Who watches a build: a person at a terminal, Prometheus, and programs that read the log."""

from rich.progress import Progress

from cluster.build_metrics import BuildMetrics
from cluster.costs import StageReport, TaskReport
from cluster.progress import Observer, Several, Silent
from jobs.build_display import BuildDisplay
from jobs.following import Job


def watching(job: Job, progress: Progress) -> Observer:
    """All that watch a build."""
    return Several(BuildDisplay(progress), BuildMetrics(job.run), BuildEvents(job))


class BuildEvents(Silent):
    """Logs the stages of a job, and that it comes on."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._restarts = 0

    def stage_started(self, name: str, total: int) -> None:
        """An event."""
        self._job.advanced()
        self._job.tell("stage started", stage=name, total=total)

    def task_finished(self, report: TaskReport) -> None:  # noqa: ARG002 - that is not told
        """It comes on."""
        self._job.advanced()

    def stage_finished(self, report: StageReport) -> None:
        """An event, with what it cost."""
        self._job.advanced()
        fields = report.as_dict()
        stage, _ = fields.pop("name"), fields.pop("began_s")
        self._job.tell("stage finished", stage=stage, **fields)

    def workers_started(self, workers: int, restarts: int) -> None:
        """An event if a worker had to be started again."""
        if restarts > self._restarts:
            self._job.tell("worker restarted", workers=workers, restarts=restarts)
        self._restarts = restarts
