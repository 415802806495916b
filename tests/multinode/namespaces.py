"""Hosts in Linux namespaces: network, processes, mounts, name and shared memory of each its own.

They are joined by a bridge, through which this machine reaches them, too. Nothing outlives the
process that made them, even if it is killed, but for the bridge, which the next one takes away.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from hosts import END_S, Host, Hosts

_FIRST_PROCESS = Path(__file__).with_name("first_process.py")
_UNSHARE = ("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork")
_ENTER = ("nsenter", "--mount", "--pid", "--net", "--uts", "--ipc")
_NETWORKS = range(1, 250)
_MACHINE = 254


class NamespaceHost(Host):
    """A host on a network.

    Args:
        network: to which it is connected.
        number: its number there, the last part of its address.
    """

    def __init__(self, name: str, network: "Network", number: int) -> None:
        home = str(Path.home())
        super().__init__(name, network.address(number), home, "/tmp", network.logs)
        self._network, self._number = network, number
        private = ["/tmp", "/var/tmp", "/run", "/dev/shm", home]
        kept = {sys.prefix, sys.base_prefix}
        command = [sys.base_prefix + "/bin/python3", "-I", str(_FIRST_PROCESS), name]
        command += [":".join(private), ":".join(kept)]
        with (self.logs / f"{name}.log").open("wb") as log:
            self._parent = subprocess.Popen(
                [*_UNSHARE, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._parent.stdout is not None
        try:
            ready = self._parent.stdout.readline() == b"ready\n"
            assert ready, f"{name} did not come up: {(self.logs / f'{name}.log').read_text()}"
            [first] = psutil.Process(self._parent.pid).children()
            self.pid = first.pid
            self._namespaces = _namespaces(self.pid)
            network.connect(self.pid, number)
        except BaseException:
            self.end()
            raise

    def inside(self, command: list[str], folder: str) -> list[str]:
        return [*_ENTER, f"--target={self.pid}", "--", "env", "-C", folder, *command]

    def path(self, name: str) -> Path:
        return Path(f"/proc/{self.pid}/root{name}")

    def processes(self) -> set[int]:
        found = set()
        for process in psutil.process_iter():
            with suppress(OSError):
                if self._namespaces & _namespaces(process.pid):
                    found.add(process.pid)
        return found

    def _cut(self) -> None:
        if self._parent.poll() is None:
            for child in psutil.Process(self._parent.pid).children():
                child.kill()
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait(END_S)
        self._network.disconnect(self._number)


def _namespaces(pid: int) -> set[str]:
    """Those of a process that hosts have of their own."""
    return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("mnt", "net", "pid")}


class Network(Hosts):
    """Hosts on a bridge that no other process uses.

    Args:
        number: of the network 10.77.NUMBER.0/24.
        logs: folder for what the hosts' programs say.
    """

    def __init__(self, number: int, logs: Path) -> None:
        super().__init__(logs)
        self.kind = f"network namespaces, 10.77.{number}.0/24"
        self._number = number
        self.bridge = f"lmserve{number}"
        # Left by a process that was killed.
        for name in self._interfaces():
            _remove_interface(name)
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"{self.address(_MACHINE)}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def add(self, name: str) -> Host:
        added = super().add(name)
        names = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in self.all)]
        for host in self.all:
            # Not those that have ended.
            with suppress(FileNotFoundError):
                host.path("/run/hosts").write_text("\n".join([*names, ""]))
        return added

    def _make(self, name: str, number: int) -> Host:
        return NamespaceHost(name, self, number)

    def address(self, number: int) -> str:
        """The address of a host."""
        return f"10.77.{self._number}.{number}"

    def connect(self, pid: int, number: int) -> None:
        """Lays a cable to the network namespace of a process."""
        cable = self._cable(number)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("link", "set", cable, "master", self.bridge, "up")
        for command in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{self.address(number)}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            # Leads nowhere; programs find their own address by looking which way they would go.
            ("route", "add", "default", "via", self.address(_MACHINE)),
        ):
            _run("nsenter", f"--target={pid}", "--net", "--", "ip", *command)

    def disconnect(self, number: int) -> None:
        """Takes a cable away, which the kernel would do only when the last connection has ended."""
        _remove_interface(self._cable(number))

    def left(self) -> set[str]:
        interfaces = {name for name in os.listdir("/sys/class/net") if name.startswith(self.bridge)}
        mounts = {
            line for line in Path("/proc/self/mounts").read_text() if line.startswith("host-")
        }
        return super().left() | interfaces | mounts

    def remove(self) -> None:
        """Takes the bridge away."""
        _remove_interface(self.bridge)

    def _cable(self, number: int) -> str:
        return f"{self.bridge}-{number}"

    def _interfaces(self) -> list[str]:
        """The bridge and its cables, as far as they are there."""
        return [
            name for name in os.listdir("/sys/class/net") if name.partition("-")[0] == self.bridge
        ]


@contextmanager
def running_network(logs: Path) -> Iterator[Network]:
    """A network of a number that no other process has; it ends with all its hosts."""
    for number in _NETWORKS:
        lock = socket.socket(socket.AF_UNIX)
        with lock:
            try:
                # A name that ends with this process, and is taken where the bridge would be.
                lock.bind(f"\0lmserve-network-{number}")
            except OSError:
                continue
            if _used(number):
                continue
            network = Network(number, logs)
            try:
                yield network
            finally:
                network.end()
                network.remove()
            return
    raise AssertionError("all networks are in use")


def _used(number: int) -> bool:
    """Whether this machine has such addresses for another purpose."""
    return any(
        address.address.startswith(f"10.77.{number}.")
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if name != f"lmserve{number}"
    )


def why_not() -> str | None:
    """Why this machine can have no such hosts; None if it can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    for name in ("ip", "unshare", "nsenter"):
        if shutil.which(name) is None:
            return f"namespaces need the program {name}"
    try:
        with tempfile.TemporaryDirectory() as logs, running_network(Path(logs)) as network:
            network.add("probe")
    except (AssertionError, OSError, subprocess.CalledProcessError) as error:
        return f"the kernel allows no namespaces: {error}"
    return None


def _remove_interface(name: str) -> None:
    # It may be gone already, and may go this instant.
    subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
