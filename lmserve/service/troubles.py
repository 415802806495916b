"""Telling of a store that fails, and not too often."""

import logging
import time
from collections.abc import Callable

_LOG_INTERVAL_S = 10.0

logger = logging.getLogger(__name__)


class Troubles:
    """Counts the errors of a store, and logs one now and then: a dead one must not fill the disk.

    Args:
        store: names it in the log.
        on_error: called for every error.
    """

    def __init__(self, store: str, on_error: Callable[[], None]) -> None:
        self._store = store
        self._on_error = on_error
        self._log_after_s = 0.0

    def report(self, error: Exception) -> None:
        """Takes note of an error; its message may name host and port, never a password."""
        self._on_error()
        now_s = time.monotonic()
        if now_s >= self._log_after_s:
            self._log_after_s = now_s + _LOG_INTERVAL_S
            logger.warning("%s: %s: %s", self._store, type(error).__name__, error)
