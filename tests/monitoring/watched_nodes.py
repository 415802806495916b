"""Nodes that a real Prometheus watches by the rules, with durations of seconds, not of minutes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ports import free_port
from prometheus_server import PrometheusServer, running_prometheus

from lmserve.metrics.sharing import CHOICE_VARIABLE
from lmserve.monitoring.rules.files import write
from lmserve.monitoring.rules.rule import Clock

HERE = Path(__file__).parent
_DEADLINE_S = 150.0


def seconds(duration_s: float) -> float:
    """Five minutes last 5 s, three days a minute: each longer duration is longer still."""
    return 5 * (duration_s / 300) ** 0.35


class Exporter:
    """The `lmserve metrics` of a node, always at the same port.

    Args:
        folder: what the node's processes share.
        disk: is told of.
    """

    def __init__(self, folder: Path, disk: Path) -> None:
        self.port = free_port()
        self._arguments = ("-m", "jobs.metrics", "--port", str(self.port), "--disk", str(disk))
        self._environment = os.environ | {CHOICE_VARIABLE: str(folder)}
        self.start()

    def start(self) -> None:
        """Begins to answer, soon."""
        command = [sys.executable, *self._arguments]
        self._process = subprocess.Popen(
            command, env=self._environment, stderr=subprocess.DEVNULL, text=True
        )

    def kill(self) -> None:
        """Answers no more."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Node:
    """A node, which is a cluster of its own.

    Args:
        cluster: its name.
        folder: what its processes share.
        work: for what they read and make.
        disk: of its own, where one is mounted there.
        model: a model folder.
        exporter: tells what its processes count.
        prometheus: watches it.
    """

    cluster: str
    folder: Path
    work: Path
    disk: Path
    model: Path
    exporter: Exporter
    prometheus: PrometheusServer

    def fire(self, *alerts: str) -> None:
        """Waits until these alerts fire, and looks at what they tell."""
        self._wait(lambda: set(alerts) <= self.firing(), f"{alerts} do not all fire")
        for one in self.prometheus.ask("alerts")["alerts"]:
            told = one["annotations"]
            assert told["summary"]
            assert told["description"]
            assert "<no value>" not in "".join(told.values())

    def end(self, *alerts: str) -> None:
        """Waits until none of these fires."""
        self._wait(lambda: not set(alerts) & self.firing(), f"{alerts} do not all end")

    def firing(self) -> set[str]:
        """Alerts that fire here now, but for the disks of this machine."""
        found = self.prometheus.ask("alerts")["alerts"]
        disk = str(self.disk)
        return {
            one["labels"]["alertname"]
            for one in found
            if one["state"] == "firing"
            and one["labels"]["cluster"] == self.cluster
            and one["labels"].get("mount", disk) == disk
        }

    def sees(self, expression: str) -> None:
        """Waits for an expression to have a series."""
        self._wait(lambda: bool(self.prometheus.query(expression)), f"{expression} stays empty")

    def _wait(self, condition: Callable[[], bool], problem: str) -> None:
        end_s = time.monotonic() + _DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, f"{self.cluster}: {problem}: {self.firing()}"
            time.sleep(0.3)

    def process(
        self, program: str, *arguments: object, **environment: str
    ) -> "AbstractContextManager[subprocess.Popen[str]]":
        """A program of this folder, which counts on this node; killed at the end."""
        return self.python(HERE / program, *arguments, **environment)

    @contextmanager
    def python(self, *arguments: object, **environment: str) -> "Iterator[subprocess.Popen[str]]":
        """Python with these arguments, which counts on this node; killed at the end."""
        command = [sys.executable, *map(str, arguments)]
        shared = {CHOICE_VARIABLE: str(self.folder)}
        with subprocess.Popen(
            command, env=os.environ | shared | environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def replica(self, *arguments: object, **environment: str) -> Iterator[str]:
        """A replica; its address."""
        with self.process("watched_replica.py", *arguments, **environment) as process:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
            process.send_signal(signal.SIGTERM)


@contextmanager
def watched(
    clusters: Sequence[str], folder: Path, model: Path, lasting: Callable[[float], float] = seconds
) -> Iterator[dict[str, Node]]:
    """Nodes by name, and a Prometheus before them for which durations last so long."""
    rules = folder / "rules"
    rules.mkdir()
    write(rules, clock=Clock(lasting))
    with ExitStack() as stack:
        exporters = {}
        for cluster in clusters:
            (folder / cluster / "work").mkdir(parents=True)
            exporters[cluster] = Exporter(folder / cluster / "shared", folder / cluster / "disk")
            stack.callback(exporters[cluster].kill)
        # JSON is YAML.
        configuration = json.dumps(_configuration(exporters, rules))
        prometheus = stack.enter_context(running_prometheus(configuration))
        yield {
            one: Node(
                cluster=one,
                folder=folder / one / "shared",
                work=folder / one / "work",
                disk=folder / one / "disk",
                model=model,
                exporter=exporter,
                prometheus=prometheus,
            )
            for one, exporter in exporters.items()
        }


def _configuration(exporters: Mapping[str, Exporter], rules: Path) -> dict[str, Any]:
    targets = [
        {"targets": [f"127.0.0.1:{exporter.port}"], "labels": {"cluster": one, "instance": one}}
        for one, exporter in exporters.items()
    ]
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{rules}/*.yml"],
        "scrape_configs": [{"job_name": "lmserve", "static_configs": targets}],
    }


class Traffic:
    """Clients that ask for scores, one request after the other, until the block ends.

    Attributes:
        next_text: makes the texts; may be replaced.
    """

    def __init__(self, url: str, next_text: Callable[[], list[str]], *, clients: int = 1) -> None:
        self.next_text = next_text
        self._url = url
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._ended.wait(0.1):
                client.post("/v1/score", json={"texts": self.next_text()})

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
