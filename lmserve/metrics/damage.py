"""Files of values that cannot be read: they are left out and told of, and hide no others."""

import logging
import struct
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector

# What prometheus_client raises when it reads what it did not write.
_FAULTS = (struct.error, RuntimeError, ValueError, TypeError, LookupError)
_told_of: set[Path] = set()

logger = logging.getLogger(__name__)


def merged(paths: Sequence[Path]) -> list[Metric]:
    """The sums of what files hold, without those that cannot be read.

    Raises:
        FileNotFoundError: one is gone.
    """
    try:
        return _merge(paths)
    except _FAULTS:
        return _merge([path for path in paths if is_whole(path)])


def is_whole(path: Path) -> bool:
    """Whether a file can be read; if not, it is logged, once in a process.

    Raises:
        FileNotFoundError: it is gone.
    """
    try:
        _merge([path])
    except _FAULTS as error:
        if path not in _told_of:
            _told_of.add(path)
            logger.warning(
                "what %s counted is left out of the metrics: the file is damaged (%s), by a full "
                "disk, a crash of the machine or another program; look at the disk, and remove the "
                "file once its process has ended",
                path,
                error,
            )
        return False
    return True


def _merge(paths: Sequence[Path]) -> list[Metric]:
    return list(MultiProcessCollector.merge([str(path) for path in paths]))  # type: ignore[no-untyped-call]
