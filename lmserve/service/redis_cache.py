"""Scores shared by all replicas in Redis, which may be slow, full, dead or lying.

Whatever goes wrong there is a miss here: the service answers from the model.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from redis.asyncio import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError, ResponseError

from lmserve.errors import OptionError
from lmserve.scorer import TextScore
from lmserve.service import tracing
from lmserve.service.breaker import Breaker
from lmserve.service.cache import pack, unpack
from lmserve.service.redis_connection import connect, disconnect
from lmserve.service.troubles import Troubles

# Keys a command: some 2 ms of the server, which does one thing at a time.
_CHUNK = 512
# Parts of a cluster's slots whose keys share one slot, so that one command may name them.
_TAGS = 64
# SET for many keys with one time to live. A command a key costs this process 15 times as much.
_SET_MANY = """
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1]) end
"""
# Lookups at a time. A replica has some thousand a second at most, of a millisecond each; more would
# take connections that take time to open. Pools of these have a queue, but not a fair one.
_MAX_LOOKUPS = 8


class RedisCache:
    """A `ScoreCache` in Redis.

    Args:
        url: see `redis_connection.connect`. A password in it is used and never logged.
        time_to_live_s: seconds until Redis forgets a score.
        timeout_s: longest wait for a connection or a reply; requests wait less (`get_many`).
        on_error: called for every error, time-out and malformed value.
        on_late: called for every lookup whose request no longer waited for it.
        breaker: says when to try again after an error.

    Raises:
        OptionError: the URL or a number makes no sense, or the password file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        time_to_live_s: int = 24 * 3600,
        timeout_s: float = 0.5,
        on_error: Callable[[], None] = lambda: None,
        on_late: Callable[[], None] = lambda: None,
        breaker: Breaker | None = None,
    ) -> None:
        if time_to_live_s < 1 or timeout_s <= 0:
            raise OptionError(
                f"time_to_live_s is {time_to_live_s}, timeout_s is {timeout_s}",
                "Give a time to live of at least 1 s and a time-out above 0 s.",
            )
        self._redis = connect(url, timeout_s=timeout_s)
        self._is_cluster = isinstance(self._redis, RedisCluster)
        self._time_to_live_s = time_to_live_s
        self._troubles = Troubles("score cache", on_error)
        self._on_late = on_late
        self._breaker = breaker or Breaker()
        # A server that is full or read-only refuses to write, and answers all the same.
        self._writing = Breaker()
        self._turns = asyncio.Semaphore(_MAX_LOOKUPS)
        self._lookups: set[asyncio.Task[list[TextScore | None]]] = set()

    async def get_many(
        self, keys: Sequence[bytes], *, within_s: float = math.inf
    ) -> list[TextScore | None]:
        """The score of each key, in order; None for a miss, which every error is.

        So is what does not come `within_s`. A lookup that has begun waits for its answer
        nevertheless, as far as its time-out, so that the connection is not lost.
        """
        misses: list[TextScore | None] = [None] * len(keys)
        if not keys or not self._breaker.allows():
            return misses
        started_s, failures = time.monotonic(), self._breaker.failures
        try:
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                await self._turns.acquire()
        except TimeoutError:
            self._on_late()
            return misses
        if self._breaker.failures > failures:
            self._turns.release()
            return misses
        lookup = asyncio.create_task(self._get(keys))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._ended)
        left_s = within_s - (time.monotonic() - started_s)
        await asyncio.wait({lookup}, timeout=None if left_s == math.inf else left_s)
        if lookup.done():
            return lookup.result()
        self._on_late()
        return misses

    async def set_many(self, scores: Mapping[bytes, TextScore]) -> None:
        """Keeps the scores for `time_to_live_s`; an error loses them."""
        if not scores or not self._writing.allows() or not self._breaker.allows():
            return
        values = {self._name(key): pack(score) for key, score in scores.items()}
        known = self._breaker.failures
        try:
            with tracing.redis_span("EVAL"):
                await self._set(values)
        except ResponseError as error:
            self._writing.failed()
            self._troubles.report(error)
        except Exception as error:
            self._breaker.failed(known)
            self._troubles.report(error)
        else:
            self._breaker.succeeded()
            self._writing.succeeded()

    async def close(self) -> None:
        """Ends the connections."""
        await disconnect(self._redis)

    def _ended(self, lookup: "asyncio.Task[list[TextScore | None]]") -> None:
        self._lookups.discard(lookup)
        self._turns.release()

    async def _set(self, values: Mapping[bytes, bytes]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for group in self._groups(list(values)):
                packed = [values[key] for key in group]
                rest: list[bytes | int] = [*group, self._time_to_live_s, *packed]
                pipeline.execute_command("EVAL", _SET_MANY, len(group), *rest)
            await pipeline.execute()

    async def _get(self, keys: Sequence[bytes]) -> list[TextScore | None]:
        names = [self._name(key) for key in keys]
        groups = list(self._groups(names))
        found: dict[bytes, TextScore | None] = {}
        known = self._breaker.failures
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for group in groups:
                    pipeline.execute_command("MGET", *group)
                with tracing.redis_span("MGET"):
                    replies = await pipeline.execute()
                for group, values in zip(groups, replies, strict=True):
                    if len(values) != len(group):
                        raise RedisError(f"{len(values)} values for {len(group)} keys")
                    found |= zip(group, map(self._unpack, values), strict=True)
        except Exception as error:
            # Any: what isn't Redis at all may answer in ways that its client doesn't expect.
            self._breaker.failed(known)
            self._troubles.report(error)
            return [None] * len(keys)
        self._breaker.succeeded()
        return [found[name] for name in names]

    def _name(self, key: bytes) -> bytes:
        """What Redis calls a key: in a cluster, the part between braces decides where it lies.

        A key ends in a hash, whose last byte is as likely to be one number as another.
        """
        return b"{%s}%s" % (_tags()[key[-1] % _TAGS], key) if self._is_cluster else key

    def _groups(self, names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """What one command names: in a cluster, keys of one slot only."""
        parts: dict[bytes, list[bytes]] = {}
        for name in names:
            parts.setdefault(name.partition(b"}")[0] if self._is_cluster else b"", []).append(name)
        for part in parts.values():
            for start in range(0, len(part), _CHUNK):
                yield part[start : start + _CHUNK]

    def _unpack(self, value: bytes | None) -> TextScore | None:
        if value is None:
            return None
        try:
            return unpack(value)
        except ValueError as error:
            self._troubles.report(error)
            return None


@cache
def _tags() -> list[bytes]:
    """Numbers whose slots are spread evenly: each of a cluster's nodes has as many of them."""
    tags: dict[int, bytes] = {}
    number = 0
    while len(tags) < _TAGS:
        tag = b"%d" % number
        tags.setdefault(key_slot(tag) * _TAGS // REDIS_CLUSTER_HASH_SLOTS, tag)
        number += 1
    return [tags[part] for part in range(_TAGS)]
