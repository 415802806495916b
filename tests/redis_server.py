"""Real Redis servers for a test, on sockets in folders of their own."""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from programs import program


class RedisServer:
    """A server that can be killed and started again; it keeps nothing on disk."""

    def __init__(self, program: str, folder: Path, options: Sequence[str]) -> None:
        self.socket = folder / "redis.sock"
        self._log = folder / "log"
        self._command = [program, "--port", "0", "--unixsocket", str(self.socket)]
        self._command += ["--save", "", "--dir", str(folder), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log)
        deadline_s = time.monotonic() + 20
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline_s, "redis-server doesn't listen"
            time.sleep(0.01)

    def stop(self) -> None:
        """Takes its processor away: connections stay, answers don't come."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


@contextmanager
def running_redis(password: str | None = None, *options: str) -> Iterator[RedisServer]:
    """A running server; see `programs.program` for where there is none."""
    path = program("redis-server", "redis-server")
    if password is not None:
        options = ("--requirepass", password, *options)
    # Not pytest's folders, whose long names may not fit a socket's address.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(path, Path(folder), options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
