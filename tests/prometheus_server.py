"""A real Prometheus for a test: scrapes what it is told to, evaluates rules, answers queries."""

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ports import free_port
from programs import program

_DEADLINE_S = 60.0


class PrometheusServer:
    """A running server.

    Args:
        url: where it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now; each with `metric` and `value`."""
        return list(self.ask("query", query=expression)["result"])

    def value(self, expression: str) -> float | None:
        """The only series' value; None where there is none."""
        series = self.query(expression)
        assert len(series) <= 1, f"{expression} has {len(series)} series"
        return float(series[0]["value"][1]) if series else None

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of the HTTP interface."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        alerts = self.ask("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def wait_for(self, expression: str, *, deadline_s: float = _DEADLINE_S) -> list[dict[str, Any]]:
        """The series of an expression, as soon as it has any."""
        end_s = time.monotonic() + deadline_s
        while not (series := self.query(expression)):
            assert time.monotonic() < end_s, f"{expression} stays empty"
            time.sleep(0.2)
        return series


@contextmanager
def running_prometheus(configuration: str, *options: str) -> Iterator[PrometheusServer]:
    """A server with this configuration; see `programs.program` for where there is none.

    Args:
        configuration: YAML, whose paths are absolute.
        options: of the command line, beside those that name folders and the port.
    """
    path = program("prometheus", "prometheus")
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder, port = Path(name), free_port()
        (folder / "prometheus.yml").write_text(configuration)
        server = PrometheusServer(f"http://127.0.0.1:{port}")
        command: Sequence[str] = [
            path,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *options,
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_ready(server.url, process, folder / "log")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + _DEADLINE_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.1)
