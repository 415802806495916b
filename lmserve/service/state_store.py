"""Where places in texts are kept for those who come back: the seam, and its in-process twin."""

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from lmserve.errors import OptionError

# Nobody guesses one of 128 bits: who knows an identifier was told it.
_ID_BYTES = 16
_ID = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
# What an entry takes beside its value, about.
_ENTRY_BYTES = 300


def new_id() -> str:
    """An identifier that nobody can guess, 22 characters."""
    return secrets.token_urlsafe(_ID_BYTES)


def is_id(identifier: str) -> bool:
    """Whether a client's string may be an identifier."""
    return _ID.fullmatch(identifier) is not None


class StateStore(Protocol):
    """Keeps bytes under identifiers of its own making, for a while. What is kept never changes."""

    async def keep(self, states: Sequence[bytes]) -> list[str | None]:
        """Keeps states: the identifier of each, or None for all where the store doesn't work."""
        ...

    async def find(self, identifier: str) -> bytes | None:
        """The state, or None where there is none, or none any more.

        Raises:
            ServiceError: the store doesn't work.
        """
        ...

    async def close(self) -> None:
        """Ends connections; the store is not used afterwards."""
        ...


class MemoryStateStore:
    """Keeps states in this process: no other can read on from them.

    Args:
        max_bytes: memory for all states, about; the oldest ones go first.
        time_to_live_s: seconds until a state is forgotten.
        clock: monotonic seconds; another one in tests.

    Raises:
        OptionError: a number makes no sense.
    """

    def __init__(
        self,
        max_bytes: int = 64 << 20,
        *,
        time_to_live_s: float = 3600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes < 0 or not time_to_live_s > 0:
            raise OptionError(
                f"max_bytes is {max_bytes}, time_to_live_s is {time_to_live_s}",
                "Give a size of at least 0 bytes and a time to live above 0 s.",
            )
        self._max_bytes = max_bytes
        self._time_to_live_s = time_to_live_s
        self._clock = clock
        # In the order of their ends.
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def keep(self, states: Sequence[bytes]) -> list[str | None]:
        """Keeps states; the identifier of each."""
        end_s = self._clock() + self._time_to_live_s
        identifiers: list[str | None] = []
        for state in states:
            identifier = new_id()
            self._kept[identifier] = (end_s, state)
            self._bytes += len(state) + _ENTRY_BYTES
            identifiers.append(identifier)
        self._forget()
        return identifiers

    async def find(self, identifier: str) -> bytes | None:
        """The state, or None where there is none, or none any more."""
        self._forget()
        _, state = self._kept.get(identifier, (0.0, None))
        return state

    async def close(self) -> None:
        """Forgets everything."""
        self._kept.clear()
        self._bytes = 0

    def _forget(self) -> None:
        now_s = self._clock()
        while self._kept:
            identifier, (end_s, state) = next(iter(self._kept.items()))
            if end_s > now_s and self._bytes <= self._max_bytes:
                return
            del self._kept[identifier]
            self._bytes -= len(state) + _ENTRY_BYTES
