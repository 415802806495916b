"""lmserve's application on uvicorn in one process, and streams of lines through it."""

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from prometheus_client import values

from benchmarks import bare_service
from benchmarks.streaming import stream
from lmserve.metrics.sharing import FOLDER_VARIABLE

_PATH = "/v1/score/stream"
_PLAIN = "text/plain"
_START_S = 300.0


class Cost(NamedTuple):
    """Of one stream: elapsed time, and the service's processor time."""

    wall_s: float
    cpu_s: float


class Service:
    """The application on uvicorn, while a `with` block runs.

    Args:
        factory: module of this package with `make`.
        model: model folder.
        shared: folder for metrics that processes share; None for none.
    """

    def __init__(self, factory: str, model: Path, shared: Path | None) -> None:
        self.port = _free_port()
        self._command = [sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.{factory}:make"]
        self._command += ["--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        self._environment = os.environ | {"LMSERVE_MODEL": str(model)}
        self._environment.pop(FOLDER_VARIABLE, None)
        if shared is not None:
            self._environment[FOLDER_VARIABLE] = str(shared)

    def __enter__(self) -> "Service":
        self._process = subprocess.Popen(self._command, env=self._environment)
        deadline_s = time.monotonic() + _START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise SystemExit("the service did not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds so far."""
        return {"service": sum(psutil.Process(self._process.pid).cpu_times()[:2])}

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def whole(service: Service, lines: Sequence[bytes], *headers: str) -> Cost:
    """A stream of lines as fast as they are taken."""
    result = stream(service, _PLAIN, b"".join(lines), *headers)
    assert result.answers == len(lines)
    return Cost(result.wall_s, sum(result.cpu_s.values()))


def one_by_one(service: Service, lines: Sequence[bytes], *headers: str) -> Cost:
    """A stream of lines, each sent when the one before is answered."""
    before, started_s = service.cpu_s(), time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.putrequest("POST", _PATH)
    connection.putheader("Content-Type", _PLAIN)
    connection.putheader("Transfer-Encoding", "chunked")
    for header in headers:
        connection.putheader(header, "yes")
    connection.endheaders()
    answer = None
    for line in lines:
        connection.send(b"%x\r\n%b\r\n" % (len(line), line))
        answer = answer or connection.getresponse()
        assert answer.readline().startswith(b'{"log10_prob"')
    connection.send(b"0\r\n\r\n")
    assert answer is None or answer.read() == b""
    connection.close()
    spent_s = service.cpu_s()["service"] - before["service"]
    return Cost(time.perf_counter() - started_s, spent_s)


def increments(model: Path, lines: Sequence[bytes], *, apart: bool) -> int:
    """How often a value of a metric changes while a stream is answered.

    Args:
        model: model folder.
        lines: the stream.
        apart: whether each comes when the one before is answered.
    """
    os.environ["LMSERVE_MODEL"] = str(model)
    app = bare_service.make()
    counted = 0
    kind = values.ValueClass
    inc = kind.inc

    def counting(self: object, amount: float) -> None:
        nonlocal counted
        counted += 1
        inc(self, amount)

    async def pieces() -> AsyncIterator[bytes]:
        for line in lines if apart else [b"".join(lines)]:
            yield line
            # More turns of the event loop than an answer takes.
            for _ in range(50 if apart else 1):
                await asyncio.sleep(0)

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            headers = {"Content-Type": _PLAIN}
            answer = await client.post(_PATH, content=pieces(), headers=headers)
            assert answer.content.count(b"\n") == len(lines)

    kind.inc = counting
    try:
        asyncio.run(ask())
    finally:
        kind.inc = inc
    return counted


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
