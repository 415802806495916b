"""A job as programs follow it: metrics, and with `--log-format json` a line of JSON an event."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import orjson
from typer import Option

from jobs.shell import messages
from lmserve.errors import LmserveError
from lmserve.logs import FIELDS, JsonFormatter, log_to_standard_error
from lmserve.metrics.sharing import join_node
from lmserve.stopping import is_stop

LogFormat = Literal["text", "json"]
LogFormatOption = Annotated[
    LogFormat,
    Option(help="What standard error tells: for people, or a line of JSON for each event."),
]
_LOG = logging.getLogger("lmserve.jobs")


class Job:
    """A job that runs.

    Args:
        run: names it.
        kind: its command.
        logs: whether events are logged.
    """

    def __init__(self, run: str, kind: str, *, logs: bool) -> None:
        # Here, for the commands that count nothing.
        from lmserve.metrics.job_reporting import JobMetrics

        self.run = run
        self.metrics = JobMetrics(run, kind)
        self._logs = logs

    def advanced(self) -> None:
        """It has come on."""
        self.metrics.advanced()

    def tell(self, message: str, level: int = logging.INFO, **fields: Any) -> None:
        """Logs an event, if programs read the log."""
        if self._logs:
            _LOG.log(level, message, extra={FIELDS: fields})


@contextmanager
def following(run: str, kind: str, log_format: LogFormat) -> Iterator[Job]:
    """Tells of a job while the block runs: that it began, and how it ended."""
    from lmserve.metrics.job_reporting import ended_as

    if log_format == "json":
        # What is said to people is not for programs.
        messages.quiet = True
        log_to_standard_error(JsonFormatter({"run": run, "kind": kind} | _ray_job()))
    join_node("trainer" if kind == "train" else "job")
    job, began_s = Job(run, kind, logs=log_format == "json"), time.monotonic()
    job.tell("job started")
    with job.metrics:
        try:
            yield job
        except BaseException as error:
            state = ended_as(error)
            level = logging.WARNING if state == "stopped" else logging.ERROR
            job.tell("job ended", level, state=state, **_cause(error), seconds=_since(began_s))
            raise
    job.tell("job ended", state="done", seconds=_since(began_s))


def _cause(error: BaseException) -> dict[str, str]:
    if isinstance(error, LmserveError):
        return {"error": error.problem, "remedy": error.remedy}
    return {} if is_stop(error) else {"error": repr(error)}


def _since(began_s: float) -> float:
    return round(time.monotonic() - began_s, 3)


def _ray_job() -> dict[str, str]:
    """What `ray job submit` calls this job, if that started it."""
    if job := os.environ.get("RAY_JOB_ID"):
        return {"ray_job": job}
    config = orjson.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    job = config.get("metadata", {}).get("job_submission_id")
    return {"ray_job": job} if job else {}
