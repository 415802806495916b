"""The first process of a host: gives it folders of its own, then waits until the host is to end.

    unshare --mount --pid --net --uts --ipc --fork python -I first_process.py NAME PRIVATE KEPT

PRIVATE and KEPT are folders, separated by colons. All of the machine becomes read-only; the private
folders are empty file systems in memory that no other host sees; what is kept can be read even
where it lies below a private one. Names of hosts are those in /run/hosts; no server is asked for
others. When standard input is closed, this process ends, and the kernel ends all others of the host
with it.
"""

import ctypes
import os
import signal
import socket
import sys

_BIND, _RECURSIVE = 0x1000, 0x4000
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR, _ATTR_RDONLY = 442, 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def make_readonly() -> None:
    """All that is mounted, for this host."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    _check(_LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, size))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0) -> None:
    """As mount(2) does."""
    names = [name.encode() if name is not None else None for name in (source, target, kind)]
    _check(_LIBC.mount(*names, ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(name: str, private: list[str], kept: list[str]) -> None:
    """Sets the host up, says so, and waits."""
    opened = {folder: os.open(folder, os.O_PATH) for folder in kept}
    make_readonly()
    mount("proc", "/proc", "proc")
    for folder in private:
        mount(f"host-{name}", folder, "tmpfs")
    for folder, descriptor in opened.items():
        if any(folder.startswith(f"{other}/") for other in private):
            os.makedirs(folder)
            mount(f"/proc/self/fd/{descriptor}", folder, flags=_BIND | _RECURSIVE)
        os.close(descriptor)
    socket.sethostname(name)
    for file, target in (("/run/hosts", "/etc/hosts"), ("/run/none", "/etc/resolv.conf")):
        open(file, "x").close()
        if os.path.exists(target):
            mount(file, target, flags=_BIND)
    # The kernel then takes away processes of the host that end and whose parents have ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"ready\n")
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(":"), sys.argv[3].split(":"))
