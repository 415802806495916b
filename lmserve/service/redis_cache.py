"""Scores shared by all replicas in a Redis server, which may be slow, full, dead or lying.

Whatever goes wrong there is a miss here: the service answers from the model.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from lmserve.errors import OptionError
from lmserve.scorer import TextScore
from lmserve.service.cache import pack, unpack

PASSWORD_VARIABLE = "LMSERVE_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FILE_VARIABLE = "LMSERVE_REDIS_PASSWORD_FILE"  # noqa: S105 - the name of a variable
# Keys a command: some 2 ms of the server, which does one thing at a time.
_CHUNK = 512
# More would only queue in the server; who finds none free within the time-out does without.
_MAX_CONNECTIONS = 32
# SET for many keys with one time to live. A command a key costs this process 15 times as much.
_SET_MANY = """
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1]) end
"""
_LOG_INTERVAL_S = 10.0

logger = logging.getLogger(__name__)


def password_from_environment() -> str | None:
    """The Redis password from `LMSERVE_REDIS_PASSWORD`, or the file `..._PASSWORD_FILE` names.

    Raises:
        OptionError: the file cannot be read.
    """
    if password := os.environ.get(PASSWORD_VARIABLE):
        return password
    path = os.environ.get(PASSWORD_FILE_VARIABLE)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"the Redis password cannot be read from {path}: {error}",
            f"Let {PASSWORD_FILE_VARIABLE} name a readable text file with the password.",
        ) from error


def connect(url: str, *, timeout_s: float) -> Redis:
    """A client, which connects when it is used.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`. A password in it is used and never logged;
            without one, the environment is asked (`password_from_environment`).
        timeout_s: longest wait for a connection or a reply.

    Raises:
        OptionError: the URL makes no sense, or the password file cannot be read.
    """
    password = password_from_environment()
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            password=password,
            max_connections=_MAX_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # `from None`, as the cause may quote the URL and so the password.
        raise OptionError(
            "the Redis URL cannot be used",
            "Write it like redis://localhost:6379/0, rediss://host:6379/0 or unix:///path.",
        ) from None
    return Redis.from_pool(pool)


class Breaker:
    """Decides when to try a service that has failed: one trial a pause, each pause twice as long.

    Args:
        first_pause_s: pause after the first failure.
        longest_pause_s: pauses grow up to this.
        clock: monotonic seconds; another one in tests.
    """

    def __init__(
        self,
        *,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._pause_s = 0.0
        self._closed_until_s = 0.0

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

    def failed(self) -> None:
        """Notes a failure: the next trial comes after a pause."""
        self._pause_s = min(max(self._first_pause_s, 2 * self._pause_s), self._longest_pause_s)
        self._closed_until_s = self._clock() + self._pause_s

    def succeeded(self) -> None:
        """Notes a success: no pause."""
        self._pause_s = 0.0


class RedisCache:
    """A `ScoreCache` in Redis.

    Args:
        url: see `connect`.
        time_to_live_s: seconds until Redis forgets a score.
        timeout_s: longest wait for a connection or a reply.
        on_error: called for every error, time-out and malformed value.

    Raises:
        OptionError: the URL or a number makes no sense, or the password file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        time_to_live_s: int = 24 * 3600,
        timeout_s: float = 0.25,
        on_error: Callable[[], None] = lambda: None,
        breaker: Breaker | None = None,
    ) -> None:
        if time_to_live_s < 1 or timeout_s <= 0:
            raise OptionError(
                f"time_to_live_s is {time_to_live_s}, timeout_s is {timeout_s}",
                "Give a time to live of at least 1 s and a time-out above 0 s.",
            )
        self._redis = connect(url, timeout_s=timeout_s)
        self._time_to_live_s = time_to_live_s
        self._on_error = on_error
        self._breaker = breaker or Breaker()
        self._log_after_s = 0.0

    async def get_many(self, keys: Sequence[bytes]) -> list[TextScore | None]:
        """The score of each key, in order; None for a miss, which every error is."""
        misses: list[TextScore | None] = [None] * len(keys)
        if not keys or not self._breaker.allows():
            return misses
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for start in range(0, len(keys), _CHUNK):
                    pipeline.mget(keys[start : start + _CHUNK])
                replies = await pipeline.execute()
            scores = [self._unpack(value) for reply in replies for value in reply]
            if len(scores) != len(keys):
                raise RedisError(f"{len(scores)} values for {len(keys)} keys")
        except Exception as error:
            # Any: what isn't Redis at all may answer in ways that its client doesn't expect.
            self._failed(error)
            return misses
        self._breaker.succeeded()
        return scores

    async def set_many(self, scores: Mapping[bytes, TextScore]) -> None:
        """Keeps the scores for `time_to_live_s`; an error loses them."""
        if not scores or not self._breaker.allows():
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for chunk in _chunks(scores):
                    values = [pack(score) for score in chunk.values()]
                    pipeline.eval(_SET_MANY, len(chunk), *chunk, self._time_to_live_s, *values)
                await pipeline.execute()
        except Exception as error:
            self._failed(error)
        else:
            self._breaker.succeeded()

    async def close(self) -> None:
        """Ends the connections."""
        await self._redis.aclose()

    def _unpack(self, value: bytes | None) -> TextScore | None:
        if value is None:
            return None
        try:
            return unpack(value)
        except ValueError as error:
            self._report(error)
            return None

    def _failed(self, error: Exception) -> None:
        self._breaker.failed()
        self._report(error)

    def _report(self, error: Exception) -> None:
        """Counts every error, and logs one now and then: a dead Redis must not fill the disk."""
        self._on_error()
        now_s = time.monotonic()
        if now_s >= self._log_after_s:
            self._log_after_s = now_s + _LOG_INTERVAL_S
            # The client's messages name host and port, never the URL or the password.
            logger.warning("score cache: %s: %s", type(error).__name__, error)


def _chunks(scores: Mapping[bytes, TextScore]) -> Iterator[dict[bytes, TextScore]]:
    items = iter(scores.items())
    while chunk := dict(islice(items, _CHUNK)):
        yield chunk
