"""Hosts on one machine: each with an address, processes and folders of its own."""

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of the source.
ROOT = Path(__file__).parent.parent.parent
END_S = 20.0


class Host(ABC):
    """One of several computers, or as much of one as this machine allows.

    Args:
        name: also the name of its log files.
        address: its IP address, which all hosts reach.
        home: the home folder, as its processes see it.
        temporary: the folder for temporary files, likewise; its path is short.
        logs: folder for what its programs say.
    """

    def __init__(self, name: str, address: str, home: str, temporary: str, logs: Path) -> None:
        self.name = name
        self.address = address
        self.home = home
        # For a copy of the source of its own.
        self.source = f"{home}/source"
        self.temporary = temporary
        self.logs = logs
        self._started: list[subprocess.Popen[bytes]] = []
        # What processes have in their environment, and nothing of this process's.
        self.environment = {
            "HOME": home,
            "LANG": "C.UTF-8",
            "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "TMPDIR": temporary,
        }

    @abstractmethod
    def inside(self, command: list[str], folder: str) -> list[str]:
        """The command line that runs a command on the host, in one of its folders."""

    def port(self, usual: int) -> int:
        """The port that a program of the host uses where it would usually use that one."""
        return usual

    @abstractmethod
    def path(self, name: str) -> Path:
        """A path of the host, as this process reaches it."""

    @abstractmethod
    def processes(self) -> set[int]:
        """The host's processes, by this machine's numbers."""

    @abstractmethod
    def _cut(self) -> None:
        """Kills all processes of the host, of which there may be none any more."""

    def end(self) -> None:
        """Ends the host as a power cut would."""
        self._cut()
        for process in self._started:
            process.wait(END_S)

    def run(
        self,
        *command: object,
        folder: str | None = None,
        timeout_s: float = 120.0,
        stdin: str = "",
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; what it writes to both outputs comes as `stdout`."""
        with self._start(command, folder, environment, subprocess.PIPE, subprocess.PIPE) as process:
            try:
                output, _ = process.communicate(stdin.encode(), timeout=timeout_s)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, output.decode())

    def start(
        self, *command: object, log: str, stdin: str = "", **environment: str
    ) -> "subprocess.Popen[bytes]":
        """Starts a program that goes on; what it says is appended to a file of that name."""
        with (self.logs / f"{self.name}-{log}.log").open("ab") as output:
            process = self._start(command, None, environment, subprocess.PIPE, output)
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        self._started.append(process)
        return process

    def log(self, name: str) -> str:
        """What a program has said so far."""
        return (self.logs / f"{self.name}-{name}.log").read_text(errors="replace")

    def write(self, name: str, content: str) -> None:
        """Writes a file of the host that none but its owner may read."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(content)

    def _start(
        self,
        command: tuple[object, ...],
        folder: str | None,
        environment: dict[str, str],
        stdin: int,
        output: object,
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.inside([str(part) for part in command], folder or self.home),
            env=self.environment | environment,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Signals go to all of the group; and Ctrl-C in a terminal only to this process.
            start_new_session=True,
        )


class Hosts(ABC):
    """Several hosts that reach each other.

    Args:
        logs: folder for what their programs say.
    """

    # What they are made of, in words.
    kind: str
    # Whether each has all ports and folders to itself.
    apart = True

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.all: list[Host] = []

    @abstractmethod
    def _make(self, name: str, number: int) -> Host:
        """A host with the number as the last part of its address."""

    def add(self, name: str) -> Host:
        """One host more."""
        self.all.append(self._make(name, len(self.all) + 1))
        return self.all[-1]

    def left(self) -> set[str]:
        """What there is of them, in words; nothing once they have ended."""
        return {f"process {pid} of {host.name}" for host in self.all for pid in host.processes()}

    def end(self) -> None:
        """Ends all of them."""
        for host in self.all:
            host.end()


def end_program(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program that `Host.start` started, with what it started itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
        try:
            process.wait(END_S)
            return
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def running(host: Host, *command: object, log: str, stdin: str = "") -> Iterator[None]:
    """A program that runs on a host while a `with` block does."""
    process = host.start(*command, log=log, stdin=stdin)
    try:
        yield
    finally:
        end_program(process)
