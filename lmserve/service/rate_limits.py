"""Token buckets: what a client may still use, kept in this process.

A bucket holds up to `capacity` tokens and gets `per_s` of them a second. A request takes one token
of one bucket, and the words scored for it are taken of another when they are known, which may leave
a debt: then nothing is granted until it is paid.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# Buckets kept in memory, 200 bytes each; a forgotten one is full again.
_MAX_BUCKETS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """What a bucket grants.

    Attributes:
        name: of what is limited.
        per_s: tokens that come back a second.
        capacity: tokens of a full bucket.
    """

    name: str
    per_s: float
    capacity: float


class Taken(NamedTuple):
    """Whether tokens were taken, and how many are left; below 0 is a debt."""

    allowed: bool
    level: float


class RateLimiter(Protocol):
    """Keeps buckets by name. It never fails: without knowledge, a bucket is full."""

    async def take(
        self, bucket: str, limit: Limit, cost: float, *, on_credit: bool = False
    ) -> Taken:
        """Takes `cost` tokens where there are so many, or in any case `on_credit`."""
        ...

    async def close(self) -> None:
        """Ends connections; the limiter is not used afterwards."""
        ...


class LocalRateLimiter:
    """Buckets of this process.

    Args:
        clock: monotonic seconds; another one in tests.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(
        self, bucket: str, limit: Limit, cost: float, *, on_credit: bool = False
    ) -> Taken:
        """Takes `cost` tokens where there are so many, or in any case `on_credit`."""
        now_s = self._clock()
        level, at_s = self._buckets.get(bucket, (limit.capacity, now_s))
        level = min(limit.capacity, level + (now_s - at_s) * limit.per_s)
        allowed = on_credit or level >= cost
        if allowed:
            level -= cost
        self._buckets[bucket] = (level, now_s)
        self._buckets.move_to_end(bucket)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return Taken(allowed, level)

    async def close(self) -> None:
        """Forgets everything."""
        self._buckets.clear()


def wait_s(limit: Limit, taken: Taken, cost: float) -> float:
    """Seconds until the bucket has `cost` tokens, if nobody takes any."""
    return max(0.0, cost - taken.level) / limit.per_s
