"""A network that cuts connections."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress


class CuttingRelay:
    """Carries bytes to a server and back.

    Args:
        port: the server's, on this machine.
        cuts: after how many bytes of its answers each connection is cut; None carries all. Further
            connections are like the last.
    """

    def __init__(self, port: int, cuts: Sequence[int | None]) -> None:
        self._port = port
        self._cuts = list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                cut = self._cuts[min(self.connections, len(self._cuts) - 1)]
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, target, limit in ((client, server, None), (server, client, cut)):
                    threading.Thread(target=_carry, args=(source, target, limit)).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _carry(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    left = limit
    with suppress(OSError):
        while data := source.recv(65_536 if left is None else min(left, 65_536)):
            target.sendall(data)
            if left is not None:
                left -= len(data)
                if left == 0:
                    break
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def cutting_relay(port: int, cuts: Sequence[int | None]) -> Iterator[CuttingRelay]:
    """A relay that runs."""
    relay = CuttingRelay(port, cuts)
    threading.Thread(target=relay.serve, daemon=True).start()
    try:
        yield relay
    finally:
        relay.close()
