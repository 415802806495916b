"""When to try again what has failed."""

import time
from collections.abc import Callable


class Breaker:
    """Decides when to try a service that has failed: one trial a pause, each pause twice as long.

    Args:
        first_pause_s: pause after the first failure.
        longest_pause_s: pauses grow up to this.
        on_change: told True when the first of several failures comes, False when one succeeds
            again.
        clock: monotonic seconds; another one in tests.

    Attributes:
        failures: how often it has paused or gone on pausing.
    """

    def __init__(
        self,
        *,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 5.0,
        on_change: Callable[[bool], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._on_change = on_change
        self._clock = clock
        self._pause_s = 0.0
        self._closed_until_s = 0.0
        self.failures = 0

    def allows(self) -> bool:
        """Whether to try now. After a failure, True is said once a pause."""
        now_s = self._clock()
        if self._pause_s == 0.0:
            return True
        if now_s < self._closed_until_s:
            return False
        # Others wait for the outcome of this trial instead of running into the same time-out.
        self._closed_until_s = now_s + self._pause_s
        return True

    def failed(self, known: int | None = None) -> None:
        """Notes a failure: the next trial comes after a pause.

        Args:
            known: `failures` when the trial began. If others have failed since, one more of that
                time tells nothing new.
        """
        if known is not None and known != self.failures:
            return
        self.failures += 1
        if self._pause_s == 0.0:
            self._on_change(True)
        self._pause_s = min(max(self._first_pause_s, 2 * self._pause_s), self._longest_pause_s)
        self._closed_until_s = self._clock() + self._pause_s

    def succeeded(self) -> None:
        """Notes a success: no pause."""
        if self._pause_s > 0.0:
            self._on_change(False)
        self._pause_s = 0.0
