"""How a worker's memory is taken from the system."""

import ctypes
import mmap

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


def keep_freed_memory() -> None:
    """Keeps memory that arrays free for the next arrays, and takes it in large pages.

    A worker's tasks are alike, and each would fetch the same memory again page by page: on virtual
    machines that costs more than what is computed in it. Where the C library is not glibc, or the
    system has no large pages, nothing changes.
    """
    library = ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST - 1)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # The heap grows by this much, which takes no memory before it is used, and keeps the advice.
    heap = library.malloc(_LARGEST - mmap.PAGESIZE)
    if heap is not None:
        begin = heap + -heap % mmap.PAGESIZE
        length = (heap + _LARGEST - mmap.PAGESIZE - begin) // mmap.PAGESIZE * mmap.PAGESIZE
        library.madvise(begin, length, mmap.MADV_HUGEPAGE)
        library.free(heap)
