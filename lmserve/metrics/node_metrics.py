"""The metrics of a node and of the software on it."""

from lmserve.metrics.declaration import Sharing, gauge

BUILD_INFO = gauge(
    "lmserve_build_info",
    "1, with the versions of lmserve and of what runs it.",
    "version",
    "python",
    "ray",
    sharing=Sharing.LIVE_MAX,
)
PROCESSES = gauge("lmserve_processes", "Processes of lmserve that live.", "role")
RESIDENT_MEMORY = gauge(
    "lmserve_resident_memory_bytes", "Resident memory of lmserve's processes.", "role"
)
DISK_FREE = gauge(
    "lmserve_disk_free_bytes",
    "Room for lmserve on the disks that it uses.",
    "mount",
    sharing=Sharing.LIVE_MIN,
)
DISK_SIZE = gauge(
    "lmserve_disk_size_bytes",
    "Size of the disks that lmserve uses.",
    "mount",
    sharing=Sharing.LIVE_MIN,
)
