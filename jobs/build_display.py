"""A build's stages as a person at a terminal sees them."""

from rich.progress import Progress, TaskID

from cluster.costs import StageReport
from cluster.progress import Silent
from jobs.shell import messages


class BuildDisplay(Silent):
    """Shows a build's stages as they go.

    On a terminal a bar with the time left; elsewhere, such as in a job's log, a line a stage.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = TaskID(0)

    def stage_started(self, name: str, total: int) -> None:
        """Opens a bar."""
        self._task = self._progress.add_task(name, total=total)

    def advanced(self, amount: int) -> None:
        """Moves it."""
        self._progress.advance(self._task, amount)

    def stage_finished(self, report: StageReport) -> None:
        """Fills it."""
        task = self._progress.tasks[self._progress.task_ids.index(self._task)]
        self._progress.update(self._task, completed=task.total)
        if not messages.is_terminal:
            messages.print(f"{report.name}: {report.wall_s:.1f} s, {report.cpu_s:.1f} CPU s")
