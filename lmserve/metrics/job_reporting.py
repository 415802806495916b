"""What Prometheus learns of a job of any kind: that it runs, that it comes on, how it ended."""

from types import TracebackType

import psutil
from prometheus_client import CollectorRegistry

from lmserve.metrics import families
from lmserve.metrics import job_metrics as declared
from lmserve.stopping import is_stop


class JobMetrics:
    """Counts a job while a `with` block runs: done, failed, or stopped by Ctrl-C or SIGTERM.

    Args:
        run: names it.
        kind: its command.
    """

    def __init__(self, run: str, kind: str) -> None:
        self.registry = CollectorRegistry()
        self._running = families.gauge(declared.RUNNING, self.registry).labels(run, kind)
        self._started = families.gauge(declared.STARTED, self.registry).labels(run, kind)
        self._advanced = families.gauge(declared.ADVANCED, self.registry).labels(run, kind)
        self._ended = families.counter(declared.ENDED, self.registry)
        self._kind = kind
        for state in ("done", "failed", "stopped"):
            # There from the first, so that its rise from 0 is seen.
            self._ended.labels(kind, state)

    def advanced(self) -> None:
        """The job has come on."""
        self._advanced.set_to_current_time()

    def __enter__(self) -> "JobMetrics":
        """The job runs."""
        self._running.set(1)
        self._started.set(psutil.Process().create_time())
        self.advanced()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The job has ended."""
        self._running.set(0)
        self._ended.labels(self._kind, ended_as(error)).inc()


def ended_as(error: BaseException | None) -> str:
    """What an exception that ends a job makes of it: "done", "failed" or "stopped"."""
    if error is None:
        return "done"
    return "stopped" if is_stop(error) else "failed"
