"""A service of its own, and a client that sends and receives at the same time."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
_CHUNK_BYTES = 1 << 20
_START_S = 300.0
# By a part of the command line: what Ray calls its processes.
_ROLES = {"replica": "ServeReplica", "proxy": "ProxyActor", "HAProxy": "haproxy"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One stream, answered to its end.

    Attributes:
        answers: lines, or rows.
        wall_s: from the first byte sent to the last one received.
        cpu_s: processor time of each role.
    """

    answers: int
    wall_s: float
    cpu_s: dict[str, float]


class Server:
    """`lmserve serve` with one replica, while a `with` block runs.

    Args:
        model: model folder.
        port: of the service.
        ha_proxy: HAProxy instead of Ray's own proxy.
    """

    def __init__(self, model: Path, port: int, *, ha_proxy: bool) -> None:
        self.port = port
        self._command = [sys.executable, "-m", "jobs.serve", str(model), "--port", str(port)]
        self._environment = os.environ | {"RAY_SERVE_ENABLE_HA_PROXY": str(int(ha_proxy))}

    def __enter__(self) -> "Server":
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise SystemExit("the service did not start")
            time.sleep(0.2)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds so far, by role; the load generator is this process."""
        spent = {"generator": sum(psutil.Process().cpu_times()[:2])} | dict.fromkeys(_ROLES, 0.0)
        spent["other"] = 0.0
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                words, times = " ".join(process.cmdline()), process.cpu_times()
            except psutil.Error:
                continue
            role = next((role for role, word in _ROLES.items() if word in words), "other")
            spent[role] += times.user + times.system
        return spent

    def _answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5))
        except (OSError, urllib.error.URLError):
            return False


def stream(server: Server, media_type: str, body: bytes, *headers: str) -> Pass:
    """Sends a body in chunks while the answer is received.

    Raises:
        SystemExit: the service refused it.
    """
    before, started_s = server.cpu_s(), time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("POST", "/v1/score/stream")
    connection.putheader("Content-Type", media_type)
    connection.putheader("Transfer-Encoding", "chunked")
    for header in headers:
        connection.putheader(header, "yes")
    connection.endheaders()
    sender = threading.Thread(target=_send, args=(connection, memoryview(body)))
    sender.start()
    response = connection.getresponse()
    parts = []
    while part := response.read1(_CHUNK_BYTES):
        parts.append(part)
    sender.join()
    wall_s = time.perf_counter() - started_s
    after = server.cpu_s()
    answer = b"".join(parts)
    if response.status != http.HTTPStatus.OK:
        raise SystemExit(f"{response.status}: {answer[:1000]!r}")
    if media_type == ARROW:
        answers = pa.ipc.open_stream(answer).read_all().num_rows
    else:
        answers = answer.count(b'\n{"log10_prob"') + answer.startswith(b'{"log10_prob"')
    spent = {role: after[role] - before[role] for role in after}
    return Pass(answers=answers, wall_s=wall_s, cpu_s={r: s for r, s in spent.items() if s > 0.005})


def _send(connection: http.client.HTTPConnection, body: memoryview) -> None:
    for start in range(0, len(body), _CHUNK_BYTES):
        chunk = body[start : start + _CHUNK_BYTES]
        connection.send(b"%x\r\n" % len(chunk))
        connection.send(chunk)
        connection.send(b"\r\n")
    connection.send(b"0\r\n\r\n")
