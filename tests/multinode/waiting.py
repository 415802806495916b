"""Waiting for what must happen, as long as a busy machine may need."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
from hosts import Host


def wait_until(
    holds: Callable[[], bool], what: str, seconds: float = 120.0, every_s: float = 0.2
) -> None:
    """Waits until a condition holds.

    Raises:
        AssertionError: it does not in that time; the message says what was waited for.
    """
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, f"after {seconds:.0f} s still not: {what}"
        time.sleep(every_s)


def wait_for_port(host: Host, port: int) -> None:
    """Waits until a program of a host listens at a port, or at the one it has instead."""
    wait_until(lambda: listens(host.address, host.port(port)), f"port {port} of {host.name}")


def listens(address: str, port: int) -> bool:
    """Whether there is a program at a port."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


@contextmanager
def paused(hosts: list[Host], name: str) -> Iterator[None]:
    """While a `with` block runs, the hosts' processes whose names begin so get no processor."""
    stopped = []
    for process in map(psutil.Process, set().union(*(host.processes() for host in hosts))):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(name):
                process.suspend()
                stopped.append(process)
    assert stopped, f"no process is called {name}"
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.Error):
                process.resume()
