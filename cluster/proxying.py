"""HAProxy before the replicas, told to lose no request.

Ray's own proxy passes a replica's death on to the clients whose requests it was working on: they
are answered 500. HAProxy, which `ray[serve]` brings, can send such a request to another replica
instead, as long as nothing of its answer has come, and all of it is still in the proxy's buffer.
Scoring changes nothing, so that a request may be worked on twice.
"""

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import haproxy
from cluster.session import connected
from lmserve.errors import OptionError

_DRAIN_S = 5


def check_haproxy(address: str | None) -> None:
    """Raises `OptionError` where Ray runs already, whose nodes have their proxies' settings."""
    if address or os.environ.get("RAY_ADDRESS") or connected():
        raise OptionError(
            "HAProxy cannot be chosen for a Ray that runs already",
            "Set its variables where Ray's nodes are started: docs/models.md tells which.",
        )


@contextmanager
def haproxy_environment(folder: Path) -> Iterator[None]:
    """While a `with` block runs, a Ray that this process starts has HAProxy before its replicas.

    What is set in the environment stays as it is.

    Args:
        folder: for HAProxy's files, so that several services of one machine do not share them.
    """
    chosen = haproxy_variables(folder)
    missing = {name: value for name, value in chosen.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def haproxy_variables(folder: Path) -> dict[str, str]:
    """Ray's settings of a HAProxy that sends requests of dead replicas to others."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_program(folder)),
        # The connection closed without an answer: the replica died.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # About one a second, until another replica is seen to live again; of HAProxy's own choice,
        # 3, a request was left when a busy machine's other replica had just missed its checks.
        "RAY_SERVE_HAPROXY_RETRIES": "15",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(haproxy.BUFFER_BYTES),
        # How long a stopping service waits, requests or not; Ray's own choice is 30 s.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_DRAIN_S),
        # Of a proxy that starts; after Ray's own choice of 5 s a busy machine begins anew for ever.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "45",
        # Pages of HAProxy's own, on ports that another service of this machine may have.
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(_free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(_free_port()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
    }


def _program(folder: Path) -> Path:
    """A program that is `cluster.haproxy`, run by this Python."""
    path = folder / "haproxy"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {haproxy.__name__} "$@"\n')
    path.chmod(0o700)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
