"""What a Ray is like that this process starts for itself."""

import os
import secrets
from pathlib import Path
from typing import Any

from cluster.config import machine_memory_bytes
from lmserve.errors import OptionError
from lmserve.sizes import parse_size

STORE_VARIABLE = "LMSERVE_OBJECT_STORE_MEMORY"
SPILL_VARIABLE = "LMSERVE_SPILL_DIR"
# Builds, trainings and replicas exchange small things; Ray's own choice, 30% of the machine, would
# be missing where their work is counted against its memory.
_STORE_BYTES = 1 << 30
_STORE_SHARE = 0.3
# Ray's own limit.
_LEAST_STORE_BYTES = 75 << 20


def own_ray_options() -> dict[str, Any]:
    """Options of `ray.init`: how large its store of objects is, and where it puts what is over.

    Raises:
        OptionError: the environment asks for what cannot be had.
    """
    options: dict[str, Any] = {"object_store_memory": _store_bytes()}
    if folder := os.environ.get(SPILL_VARIABLE):
        if not os.access(folder, os.W_OK):
            raise OptionError(
                f"{SPILL_VARIABLE} is {folder}, where this user cannot write",
                "Name a folder that is there, on a disk with room.",
            )
        options["object_spilling_directory"] = folder
    return options


def secured() -> None:
    """Gives a Ray a token of its own where Ray could not keep one in the user's home.

    That is where the home cannot be written to, as in containers whose files are read-only.
    """
    told = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if not any(os.environ.get(name) for name in told) and not _home_takes_files():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _store_bytes() -> int:
    if (text := os.environ.get(STORE_VARIABLE)) is None:
        return min(_STORE_BYTES, int(machine_memory_bytes() * _STORE_SHARE))
    size_bytes = parse_size(text)
    if size_bytes < _LEAST_STORE_BYTES:
        raise OptionError(f"{STORE_VARIABLE} is {text}", "Give 75MiB or more.")
    return size_bytes


def _home_takes_files() -> bool:
    try:
        # As Ray would.
        folder = Path.home() / ".ray"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return False
    return os.access(folder, os.W_OK)
