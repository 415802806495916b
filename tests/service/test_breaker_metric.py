"""Open breakers are told, of each of the three stores in Redis, while a real one is dead."""

import asyncio
from contextlib import suppress

from redis_server import running_redis

from lmserve.errors import ServiceError
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.rate_limits import Limit
from lmserve.service.redis_cache import RedisCache
from lmserve.service.redis_connection import connect
from lmserve.service.redis_rate_limits import RedisRateLimiter
from lmserve.service.redis_state_store import RedisStateStore

STORES = ("cache", "limits", "states")
LIMIT = Limit(name="requests", per_s=100, capacity=100)


def test_a_dead_redis_opens_all_breakers_until_it_is_back() -> None:
    metrics = ServiceMetrics()

    def opened() -> list[float | None]:
        get = metrics.registry.get_sample_value
        return [get("lmserve_breaker_open", {"store": store}) for store in STORES]

    async def use_all(url: str) -> None:
        cache = RedisCache(url, breaker=metrics.breaker("cache"))
        limiter = RedisRateLimiter(connect(url, timeout_s=1), breaker=metrics.breaker("limits"))
        states = RedisStateStore(url, breaker=metrics.breaker("states"))

        async def use() -> None:
            await cache.get_many([b"key"])
            await limiter.take("me", LIMIT, 1)
            with suppress(ServiceError):
                await states.find("none")

        await use()
        assert opened() == [0, 0, 0]
        server.kill()
        await use()
        assert opened() == [1, 1, 1]
        server.start()
        async with asyncio.timeout(30):
            while opened() != [0, 0, 0]:
                await use()
                await asyncio.sleep(0.02)
        for store in (cache, limiter, states):
            await store.close()

    with running_redis() as server:
        asyncio.run(use_all(server.url))
