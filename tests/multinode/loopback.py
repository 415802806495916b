"""Hosts where the kernel allows no namespaces: addresses of the loopback network, and folders.

They share the machine's disks and ports with each other, so that less is proved by them.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from hosts import END_S, Host, Hosts

_MARK = "LMSERVE_TEST_HOST"
_PORTS_APART = 100


class LoopbackHost(Host):
    """A host that is processes with a mark in their environment.

    Args:
        number: the last part of its address.
        folder: for its own folders, with a short path.
        logs: folder for what its programs say.
    """

    def __init__(self, name: str, number: int, folder: Path, logs: Path) -> None:
        home, temporary = folder / "home", folder / "tmp"
        for made in (home, temporary):
            made.mkdir(parents=True)
        super().__init__(name, f"127.77.0.{number}", str(home), str(temporary), logs)
        self._number = number
        self._mark = f"{name}-{secrets.token_hex(8)}"
        self.environment[_MARK] = self._mark

    def inside(self, command: list[str], folder: str) -> list[str]:
        return ["env", "-C", folder, *command]

    def port(self, usual: int) -> int:
        # Some programs take their port at all addresses.
        return usual + _PORTS_APART * self._number

    def path(self, name: str) -> Path:
        return Path(name)

    def processes(self) -> set[int]:
        found = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark:
                    found.add(process.pid)
        return found

    def _cut(self) -> None:
        # Again for those that were being born meanwhile.
        while found := [psutil.Process(pid) for pid in self.processes() if psutil.pid_exists(pid)]:
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, END_S)


class Loopback(Hosts):
    """Hosts on the loopback network.

    Args:
        folder: for the hosts' own.
        logs: folder for what their programs say.
    """

    apart = False
    kind = "processes of this machine on 127.77.0.0/24, which share its disks"

    def __init__(self, folder: Path, logs: Path) -> None:
        super().__init__(logs)
        self._folder = folder

    def _make(self, name: str, number: int) -> Host:
        return LoopbackHost(name, number, self._folder / name, self.logs)


@contextmanager
def running_loopback(logs: Path) -> Iterator[Loopback]:
    """Hosts, which end when a `with` block does."""
    # Sockets lie in it, whose paths are limited.
    with tempfile.TemporaryDirectory(prefix="lm-") as folder:
        hosts = Loopback(Path(folder), logs)
        try:
            yield hosts
        finally:
            hosts.end()
