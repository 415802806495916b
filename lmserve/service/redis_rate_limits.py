"""Token buckets that all replicas share in a Redis server; while it fails, each has its own."""

from collections.abc import Callable

from redis.asyncio import Redis, RedisCluster

from lmserve.service import tracing
from lmserve.service.breaker import Breaker
from lmserve.service.rate_limits import Limit, LocalRateLimiter, Taken
from lmserve.service.redis_connection import disconnect
from lmserve.service.troubles import Troubles

_KEY_PREFIX = "lmserve:limit:1:"
# One key a call, so that it works on a Redis cluster; Redis's own clock, as replicas' may differ.
# A full bucket is forgotten. Numbers are told as text: Lua's would come back as whole numbers.
_TAKE = """
local capacity, per_s, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local held = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = capacity
if held[1] and held[2] then
  level = math.min(capacity, held[1] + math.max(0, now - held[2]) * per_s)
end
local allowed = ARGV[4] == '1' or level >= cost
if allowed and cost > 0 then
  level = level - cost
  redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level),
             'at', string.format('%.6f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - level) / per_s * 1000) + 1000)
end
return {allowed and 1 or 0, string.format('%.17g', level)}
"""


class RedisRateLimiter:
    """A `RateLimiter` in Redis.

    Args:
        redis: the server; closed with the limiter.
        on_error: called for every error and time-out.
        breaker: decides when to try a server that has failed.
    """

    def __init__(
        self,
        redis: Redis | RedisCluster,
        *,
        on_error: Callable[[], None] = lambda: None,
        breaker: Breaker | None = None,
    ) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._troubles = Troubles("rate limits are local", on_error)
        self._breaker = breaker or Breaker()
        self._local = LocalRateLimiter()

    async def take(
        self, bucket: str, limit: Limit, cost: float, *, on_credit: bool = False
    ) -> Taken:
        """Takes `cost` tokens where there are so many, or in any case `on_credit`."""
        if self._breaker.allows():
            try:
                with tracing.redis_span("EVALSHA"):
                    allowed, level = await self._take(
                        keys=[_KEY_PREFIX + bucket],
                        args=[limit.capacity, limit.per_s, cost, int(on_credit)],
                    )
                taken = Taken(bool(allowed), float(level))
            except Exception as error:
                # Any: what isn't Redis at all may answer in ways that its client doesn't expect.
                self._breaker.failed()
                self._troubles.report(error)
            else:
                self._breaker.succeeded()
                return taken
        return await self._local.take(bucket, limit, cost, on_credit=on_credit)

    async def close(self) -> None:
        """Ends the connections."""
        await disconnect(self._redis)
