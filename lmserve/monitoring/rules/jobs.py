"""Jobs: whether they come on, and how they end."""

from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Alert, Clock, Group, Severity

RUNNING = "sum by (cluster, run) (lmserve_job_running) > 0"


def groups(clock: Clock, _: Objectives) -> list[Group]:
    """Alerts about builds, trainings and other jobs."""
    still_s = "time() - max by (cluster, run, kind) (lmserve_job_last_progress_time_seconds)"
    running = "sum by (cluster, run, kind) (lmserve_job_running) > 0"
    failed = _risen('lmserve_jobs_total{state="failed"}', clock("15m"), "cluster, kind")
    restarts = _risen("lmserve_build_worker_restarts_total", clock("15m"), "cluster, run")
    return [
        Group(
            name="lmserve-jobs",
            rules=(
                Alert(
                    name="LmserveJobStalled",
                    severity=Severity.WARNING,
                    expression=f"{still_s} > {clock.seconds('10m'):g} and {running}",
                    summary="{{ $labels.kind }} {{ $labels.run }} does not come on.",
                    description="The job {{ $labels.run }} ({{ $labels.kind }}) runs, and has not "
                    "come on for {{ $value | humanizeDuration }}.",
                ),
                Alert(
                    name="LmserveJobFailed",
                    severity=Severity.WARNING,
                    expression=failed,
                    summary="A job failed: {{ $labels.kind }}.",
                    description="{{ $value | humanize }} jobs of the kind {{ $labels.kind }} "
                    "failed in the last 15 minutes.",
                ),
                Alert(
                    name="LmserveWorkerRestarting",
                    severity=Severity.WARNING,
                    expression=restarts,
                    summary="Workers of {{ $labels.run }} die.",
                    description="{{ $value | humanize }} workers of the build {{ $labels.run }} "
                    "died in the last 15 minutes and were started again, each with its task from "
                    "the beginning.",
                ),
            ),
        )
    ]


def _risen(counter: str, duration: str, labels: str) -> str:
    """By how much a counter rose, also one that is new: `increase` does not see its first value.

    New is what was not there a while ago, though its target was: otherwise all that a Prometheus
    meets when it starts would be.
    """
    was_up = f"(up offset {duration} == 1)"
    new = f"({counter} unless {counter} offset {duration}) and on (job, instance) {was_up}"
    return (
        f"sum by ({labels}) (increase({counter}[{duration}])) > 0 or sum by ({labels}) ({new}) > 0"
    )
