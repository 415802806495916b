"""A real Redis server for a test, on a socket in a folder of its own."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import program


class RedisServer:
    """A server that can be killed and started again; it keeps nothing on disk."""

    def __init__(self, program: str, folder: Path, password: str | None) -> None:
        self.socket = folder / "redis.sock"
        self._command = [program, "--port", "0", "--unixsocket", str(self.socket)]
        self._command += ["--save", "", "--dir", str(folder)]
        if password is not None:
            self._command += ["--requirepass", password]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 20
        while not self._listens():
            assert self._process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < deadline_s, "redis-server doesn't listen"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


@contextmanager
def running_redis(password: str | None = None) -> Iterator[RedisServer]:
    """A running server; see `programs.program` for where there is none."""
    path = program("redis-server", "redis-server")
    # Not pytest's folders, whose long names may not fit a socket's address.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(path, Path(folder), password)
        server.start()
        try:
            yield server
        finally:
            server.kill()
