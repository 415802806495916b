"""The reports that jobs leave for people; a job's result is complete without."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.following import Job
from jobs.shell import messages
from lmserve.errors import LmserveError

if TYPE_CHECKING:
    from cluster.config import BuildConfig


def leave_report(config: "BuildConfig", job: Job) -> None:
    """Writes the report of a build, and says where it is, or why there is none."""

    def write() -> str:
        from cluster.build_report import write_build_report

        return write_build_report(config)

    trying_to_report(write, "stages, memory and balance", job)


def trying_to_report(write: Callable[[], Path | str], about: str, job: Job | None = None) -> None:
    """Calls what writes a report; whatever goes wrong in it is said, and fails nothing.

    Args:
        write: tells where it is.
        about: what it shows, for a person.
        job: in whose log it is told, too.
    """
    try:
        path = write()
    except Exception as error:
        reason = _reason(error)
        messages.print(f"no report: {reason}", highlight=False, soft_wrap=True)
        if job is not None:
            job.tell("no report", reason=reason)
        return
    messages.print(f"{about}: {path}", highlight=False, soft_wrap=True)
    if job is not None:
        job.tell("report written", path=str(path))


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"it needs {error.name}, which is not installed: pip install 'lmserve[reports]'"
    if isinstance(error, LmserveError):
        return error.problem
    return str(error) if isinstance(error, OSError) else repr(error)
