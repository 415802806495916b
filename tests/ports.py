"""Ports for programs that are told where to listen."""

import itertools
import os
import random
import socket

# Below those that the system gives to whoever asks for any, which might have one before the program
# that it is meant for; and above those that Ray gives its workers.
_FIRST, _LAST = 20_000, 32_000
# Of each process that runs tests.
_SHARE = 2_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_BEGIN = _FIRST + _SHARE * _WORKER % (_LAST - _FIRST)
_PORTS = itertools.islice(
    itertools.cycle(range(_BEGIN, _BEGIN + _SHARE)), random.randrange(_SHARE), None
)


def free_port() -> int:
    """A port that nobody listens on, and that this process was not told of lately."""
    return next(port for port in _PORTS if _is_free(port))


def free_ports(count: int) -> list[int]:
    """Several of them, all different."""
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
