"""When a request is tried again, and after how long."""

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from lmserve.errors import OptionError, ServiceError

# The service is too busy, or a proxy before it cannot reach it now.
_PASSING = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """How often and for how long a request is tried.

    Pauses double, and half of each is chosen by chance, so that clients of a service that went down
    do not come back all at once. A service that asks for a longer pause (Retry-After) is given it.

    Attributes:
        attempts: at most so many; 1 tries once.
        first_pause_s: after the first failure.
        longest_pause_s: no pause of the client's own choice is longer.
        deadline_s: for the whole of a request, its attempts and pauses together.

    Raises:
        OptionError: no attempt, or times below 0.
    """

    attempts: int = 8
    first_pause_s: float = 0.25
    longest_pause_s: float = 5.0
    deadline_s: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise OptionError(f"attempts is {self.attempts}", "Give at least 1.")
        if not (self.first_pause_s >= 0 and self.longest_pause_s >= 0 and self.deadline_s > 0):
            raise OptionError(
                f"the times of {self} are below 0", "Give pauses of at least 0 s, a deadline above."
            )

    def pause_s(self, failures: int, asked_s: float | None, chance: float) -> float:
        """How long to wait after a failure.

        Args:
            failures: so far, from 1.
            asked_s: by the service.
            chance: from 0 to 1, drawn anew each time.
        """
        longest_s = min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(failures - 1, 60))
        return max(longest_s * (1 + chance) / 2, asked_s or 0.0)


class Attempts:
    """The attempts at one request, whose time begins now."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failures = 0
        self._end_s = time.monotonic() + retry.deadline_s

    @property
    def left_s(self) -> float:
        """Until the deadline; 0 after it."""
        return max(0.0, self._end_s - time.monotonic())

    def pause_s(self, error: ServiceError) -> float:
        """How long to wait before the next attempt; raises `error` where there is none."""
        self._failures += 1
        if not error.passing or self._failures >= self._retry.attempts:
            raise error
        # Not for secrets: it spreads clients over time.
        pause_s = self._retry.pause_s(self._failures, error.retry_after_s, random.random())  # noqa: S311
        if pause_s >= self.left_s:
            raise error
        return pause_s


def is_passing(status: int, *, own: bool) -> bool:
    """Whether the same request may succeed later.

    Args:
        status: of the answer.
        own: whether the service itself wrote it: a proxy's 500 tells of a replica that died.
    """
    return status in _PASSING or (status == HTTPStatus.INTERNAL_SERVER_ERROR and not own)


def retry_after_s(header: str | None) -> float | None:
    """The pause that Retry-After asks for, in seconds or by a date; None for anything else."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
