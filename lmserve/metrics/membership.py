"""Which processes of a node live: each holds the lock of a file for as long as it does.

The kernel lets go of a lock however its process ends. Unlike process identifiers, which are given
out again and mean something else in every container, a lock tells all processes of a machine the
same about the others that share its folder.
"""

import fcntl
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SUFFIX = ".process"
# Of processes that told nothing about themselves.
OTHER = "other"
# How often a process looks whether its file is still there.
_LOOK_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process that lives.

    Attributes:
        name: in the names of its files.
        role: what it is: "replica", "job", "trainer", "exporter".
        pid: its identifier, where `here`.
        here: whether identifiers mean the same to it as to this process.
    """

    name: str
    role: str
    pid: int
    here: bool


class _Membership:
    """This process's own."""

    def __init__(self) -> None:
        self.name = ""
        self.descriptor = -1
        self.role = OTHER
        self.looked_s = 0.0
        self.lock = threading.Lock()

    def current(self) -> str:
        """Its name, if that was looked at a moment ago; else empty."""
        return self.name if time.monotonic() - self.looked_s < _LOOK_S else ""

    def live(self, folder: Path) -> str:
        """Begins to live, or begins anew where a cleaner took this process for a dead one.

        Returns:
            Its name.
        """
        if name := self.current():
            return name
        with self.lock:
            if not self.name:
                self._begin(folder)
            elif not os.fstat(self.descriptor).st_nlink:
                logger.warning(
                    "another program removed %s of this process, which counts on under another "
                    "name; keep cleaners of temporary files away from the folder, or name another "
                    "one in LMSERVE_METRICS_DIR",
                    folder / f"{self.name}{_SUFFIX}",
                )
                os.close(self.descriptor)
                self._begin(folder)
            self.looked_s = time.monotonic()
            return self.name

    def _begin(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = ""
        while not name:
            name = f"{os.getpid()}-{secrets.token_hex(8)}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            descriptor = os.open(folder / f"{name}{_SUFFIX}", flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Before it was locked, another process may have taken it for a dead one's.
            if not os.fstat(descriptor).st_nlink:
                os.close(descriptor)
                name = ""
        self.descriptor = descriptor
        self.tell(self.role)
        self.name = name

    def tell(self, role: str) -> None:
        self.role = role
        content = json.dumps({"role": role, "pid": os.getpid(), "namespace": _namespace()}).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, content, 0)

    def end_in_child(self) -> None:
        """After a fork: the lock is the parent's, and the child begins anew."""
        if self.name:
            os.close(self.descriptor)
            self.name = ""
        self.role = OTHER
        self.lock = threading.Lock()


_own = _Membership()
os.register_at_fork(after_in_child=_own.end_in_child)


# For whoever asks with every increment; see `own_name`.
current_name = _own.current


def own_name(folder: Path) -> str:
    """Of this process; from the first call on, others know that it lives."""
    return _own.live(folder)


def tell_role(folder: Path, role: str) -> None:
    """Says what this process is."""
    own_name(folder)
    _own.tell(role)


def living(folder: Path) -> dict[str, Process]:
    """The processes that live, by name."""
    found = (_read(path) for path in folder.glob(f"*{_SUFFIX}"))
    return {process.name: process for process in found if process is not None}


def bury(folder: Path) -> None:
    """Removes the files by which dead processes said that they lived."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with _opened(path) as descriptor:
            # Held until the file is gone, so that nobody begins to live with it.
            if descriptor is not None and _locks(descriptor, fcntl.LOCK_EX):
                path.unlink()


def _read(path: Path) -> Process | None:
    with _opened(path) as descriptor:
        if descriptor is None or _locks(descriptor, fcntl.LOCK_SH):
            return None
        # Empty for a moment, when the process begins or tells something new.
        told = _told(os.pread(descriptor, 4096, 0))
    return Process(
        name=path.stem,
        role=told.get("role", OTHER),
        pid=told.get("pid", 0),
        here=told.get("namespace") == _namespace(),
    )


def _told(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        found = None
    # Whoever lives counts, even if what it told was overwritten.
    return found if isinstance(found, dict) else {}


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _namespace() -> str:
    """Where process identifiers mean the same."""
    return os.readlink("/proc/self/ns/pid")
