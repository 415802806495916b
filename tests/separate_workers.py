"""Workers of a build as processes that have no folder in common, as on machines of their own."""

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from cluster.costs import TaskReport
from cluster.counting import NgramWorker
from cluster.pool import Done
from cluster.stages import Run

_WORKERS: list[NgramWorker] = []


class SeparateWorkers:
    """A `Pool` of processes, each with a temporary folder of its own; a dead one is replaced.

    Attributes:
        reports: by stage, of its tasks.
    """

    elsewhere = True

    def __init__(self, run: Run, folder: Path, size: int = 2) -> None:
        self.size = size
        self.reports: dict[str, list[TaskReport]] = {}
        opener = run.files.opener()
        assert isinstance(opener, partial)
        url, _, name = opener.args
        self._starts = []
        for number in range(size):
            open_files = partial(opener.func, url, folder / f"machine-{number}", name)
            self._starts.append((open_files, run.config.order, number))
        self._processes = [self._process(number) for number in range(size)]

    def run(self, method: str, calls: Iterable[tuple[Any, ...]], done: Done) -> list[TaskReport]:
        """See `Pool`."""
        waiting = list(enumerate(calls))
        idle = list(range(self.size))
        running: dict[Future[TaskReport], tuple[int, tuple[int, tuple[Any, ...]]]] = {}
        reports = self.reports.setdefault(method, [])
        while waiting or running:
            while waiting and idle:
                number, call = idle.pop(), waiting.pop(0)
                running[self._submit(number, method, call[1])] = (number, call)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, call = running.pop(future)
                idle.append(number)
                try:
                    reports.append(future.result())
                except BrokenProcessPool:
                    self._processes[number] = self._process(number)
                    waiting.insert(0, call)
                    continue
                done(call[0], reports[-1])
        return reports

    def kill(self, number: int) -> None:
        """Ends a worker without a word."""
        for process in self._processes[number]._processes.values():
            process.kill()

    def close(self) -> None:
        """Ends all of them."""
        for processes in self._processes:
            processes.shutdown(cancel_futures=True)

    def _submit(self, number: int, method: str, arguments: tuple[Any, ...]) -> "Future[TaskReport]":
        try:
            return self._processes[number].submit(_call, method, arguments)
        except BrokenProcessPool:
            # It died while it had nothing to do.
            self._processes[number] = self._process(number)
            return self._processes[number].submit(_call, method, arguments)

    def _process(self, number: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _begin, self._starts[number]
        )


def _begin(*arguments: Any) -> None:
    _WORKERS.append(NgramWorker(*arguments))


def _call(method: str, arguments: tuple[Any, ...]) -> TaskReport:
    report: TaskReport = getattr(_WORKERS[0], method)(*arguments)
    return report
