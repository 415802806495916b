"""Whether the replica is shutting down, and when its time is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Shutdown:
    """The end of a replica; to be used on its event loop.

    Args:
        drain_s: time that requests in flight have from the beginning of the shutdown.
    """

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._end_s: float | None = None
        self._refuses = False
        self._waiting: set[asyncio.Timeout] = set()

    @property
    def begun(self) -> bool:
        """Whether it has begun."""
        return self._end_s is not None

    @property
    def refuses(self) -> bool:
        """Whether new requests are refused."""
        return self._refuses

    def begin(self, *, refusing: bool = True) -> None:
        """Begins the shutdown, where it has not begun.

        Args:
            refusing: new requests from now on.
        """
        self._refuses = self._refuses or refusing
        if self._end_s is None:
            self._end_s = asyncio.get_running_loop().time() + self._drain_s
            for timeout in self._waiting:
                timeout.reschedule(self._end_s)

    @asynccontextmanager
    async def end(self) -> AsyncIterator[None]:
        """A block that `TimeoutError` ends when the time of requests in flight is over."""
        if self._end_s is not None and asyncio.get_running_loop().time() >= self._end_s:
            # A time-out only ends what waits, and much that is sent never makes us wait.
            raise TimeoutError
        async with asyncio.timeout_at(self._end_s) as timeout:
            self._waiting.add(timeout)
            try:
                yield
            finally:
                self._waiting.discard(timeout)
