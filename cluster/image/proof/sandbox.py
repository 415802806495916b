"""Programs of an image's files, confined as Kubernetes' restricted pods are: by bubblewrap.

The file system is read-only but for /tmp, /dev/shm and the user's cache; there are no privileges,
no other processes and no network but the loopback.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def confined(root: Path, config: dict[str, Any], cache: Path, shown: dict[Path, str]) -> list[str]:
    """What comes before a command that is to run in the image, as its user.

    Args:
        root: the image's files.
        config: what the image says of itself.
        cache: folder that is seen as the user's cache.
        shown: files of this machine, and where they are seen.
    """
    user, _, group = config["User"].partition(":")
    command = ["bwrap", "--die-with-parent", "--new-session"]
    command += [f"--unshare-{name}" for name in ("pid", "ipc", "net", "uts", "cgroup-try")]
    command += ["--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev"]
    for folder in ("/tmp", "/dev/shm"):
        command += ["--perms", "1777", "--tmpfs", folder]
    command += ["--bind", str(cache), f"{_home(config)}/.cache"]
    for path, place in shown.items():
        command += ["--ro-bind", str(path), place]
    command += ["--chdir", config["WorkingDir"], "--clearenv", *_environment(config)]
    # Not by bubblewrap itself, whose users are mapped ones.
    command += ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return [*command, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


def _home(config: dict[str, Any]) -> str:
    [home] = [entry.partition("=")[2] for entry in config["Env"] if entry.startswith("HOME=")]
    return str(home)


def _environment(config: dict[str, Any]) -> Sequence[str]:
    found: list[str] = []
    for entry in config["Env"]:
        name, _, value = entry.partition("=")
        found += ["--setenv", name, value]
    return found
