"""The test cluster to play with: `python tests/multinode/up.py`, until Ctrl-C.

Says how to enter its hosts, and how to reach its dashboard and its stores.
"""

import shlex
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from ray_nodes import RayNodes
from whole_cluster import running_cluster


def told(nodes: RayNodes) -> str:
    """What to do with a cluster, for a person."""
    logs = nodes.hosts.logs
    lines = [f"hosts: {nodes.hosts.kind}; what their programs say is in {logs}"]
    nodes.client.environment["RAY_API_SERVER_ADDRESS"] = nodes.dashboard
    for host in nodes.hosts.all:
        shell = ["#!/bin/sh", *map(_export, host.environment.items())]
        shell.append(f"exec {shlex.join(host.inside(['bash'], host.home))}")
        script = logs / host.name
        script.touch(0o700)
        script.write_text("\n".join([*shell, ""]))
        lines.append(f"  a shell on {host.name}, {host.address}: {script}")
    bucket = nodes.stores.url("")
    return "\n".join([*lines, f"dashboard: {nodes.dashboard}", f"bucket: {bucket}"])


def _export(variable: tuple[str, str]) -> str:
    name, value = variable
    return f"export {name}={shlex.quote(value)}"


def main() -> None:
    """Runs the cluster until it is interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    redis_server = shutil.which("redis-server")
    assert redis_server, "redis-server is missing: install the Debian package redis-server"
    with (
        suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="lmserve-hosts-") as folder,
        running_cluster(Path(folder), redis_server) as nodes,
    ):
        sys.stdout.write(f"{told(nodes)}\nCtrl-C ends it.\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
