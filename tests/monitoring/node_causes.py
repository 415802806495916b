"""What makes alerts about nodes and their disks fire."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from watched_nodes import Node

_SIZE_BYTES = 16 << 20
_FILLED_S = 25.0
# Of the disk; a twentieth is free.
_FILLED = 0.95


def an_exporter_is_killed(node: Node) -> None:
    node.sees(f'up{{cluster="{node.cluster}"}} == 1')
    node.exporter.kill()
    node.fire("LmserveTargetDown")
    assert node.firing() == {"LmserveTargetDown"}
    node.exporter.start()
    node.end("LmserveTargetDown")


def a_disk_is_filled(node: Node) -> None:
    with mounted(node.disk):
        node.sees(f'lmserve_disk_size_bytes{{cluster="{node.cluster}",mount="{node.disk}"}}')
        filling = threading.Thread(target=fill, args=(node.disk / "file",))
        filling.start()
        try:
            node.fire("LmserveDiskFills")
            node.fire("LmserveDiskNearlyFull")
        finally:
            filling.join()
        (node.disk / "file").unlink()
        node.end("LmserveDiskFills", "LmserveDiskNearlyFull")


@contextmanager
def mounted(place: Path) -> Iterator[None]:
    """A small disk in memory."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_BYTES}", "tmpfs", str(place)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        problem = f"no disk can be mounted here: {result.stderr.strip()}"
        if "CI" in os.environ and os.geteuid() == 0:
            pytest.fail(problem)
        pytest.skip(f"{problem}; run as a user who may (root, CAP_SYS_ADMIN)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Writes at an even rate until the disk is nearly full."""
    size_bytes = psutil.disk_usage(str(path.parent)).total
    began_s = time.monotonic()
    with path.open("wb", buffering=0) as file:
        part = 0.0
        while part < _FILLED:
            part = min((time.monotonic() - began_s) / _FILLED_S, _FILLED)
            file.write(bytes(int(part * size_bytes) - file.tell()))
            time.sleep(0.2)
