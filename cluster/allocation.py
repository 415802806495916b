"""How a worker's memory is taken from the system."""

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


def keep_freed_memory() -> None:
    """Keeps memory that arrays free for the next arrays, instead of giving it back.

    A worker's tasks are alike, and each would fetch the same memory again page by page: on virtual
    machines that costs more than what is computed in it. Where the C library is not glibc, nothing
    changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST - 1)
