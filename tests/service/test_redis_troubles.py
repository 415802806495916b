"""A Redis in trouble, under load: no request fails, and none is much slower than without it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from harness import Harness
from redis import Redis
from redis_server import RedisServer, running_redis
from scorers import UnigramTable

from lmserve.service.batching import BatchLimits
from lmserve.service.breaker import Breaker
from lmserve.service.redis_cache import RedisCache
from lmserve.service.scoring import model_batcher

# A batch takes so long; a request's wait for the cache may be as long again.
BATCH_S = 0.05
CLIENTS = 4


class Slow(UnigramTable):
    def score_texts(self, *args: Any, **options: Any) -> Any:
        time.sleep(BATCH_S)
        return super().score_texts(*args, **options)


class Load:
    """Clients that ask one after the other, each time for another text, and what came of it."""

    def __init__(self, url: str) -> None:
        self.cache = RedisCache(
            url, timeout_s=1, breaker=Breaker(first_pause_s=0.2, longest_pause_s=0.2)
        )
        model: Any = Slow({b"the": -1.0})
        self.harness = Harness(
            model,
            cache=self.cache,
            batcher=lambda metrics: model_batcher(model, BatchLimits(), metrics),
        )
        self.seconds: list[float] = []
        self.number = 0

    def hits(self) -> float:
        return self.harness.count("lmserve_cache_hits_total") or 0

    async def ask(self, client: httpx.AsyncClient, text: str) -> None:
        started_s = time.perf_counter()
        response = await client.post("/v1/score", json={"text": text})
        self.seconds.append(time.perf_counter() - started_s)
        assert response.status_code == 200

    async def some(self, client: httpx.AsyncClient, rounds: int) -> float:
        """The median of the seconds of some requests by all clients, every one answered."""
        self.seconds = []

        async def asking() -> None:
            for _ in range(rounds):
                self.number += 1
                await self.ask(client, f"the {self.number}")

        await asyncio.gather(*(asking() for _ in range(CLIENTS)))
        return sorted(self.seconds)[len(self.seconds) // 2]

    async def until_hit(self, client: httpx.AsyncClient) -> None:
        """Asks the same until the cache answers."""
        before = self.hits()
        async with asyncio.timeout(20):
            while self.hits() == before:
                await self.ask(client, "the same")


def trouble(server: RedisServer, harm: Callable[[], None], heal: Callable[[], None] | None) -> Load:
    """Requests before some harm, during, and after its end."""
    load = Load(server.url)

    async def use(client: httpx.AsyncClient) -> None:
        await load.until_hit(client)
        before_s = await load.some(client, 5)
        harm()
        during_s = await load.some(client, 15)
        # The longest wait of all is for one's own batch, the one before it and the cache.
        assert max(load.seconds) < 0.9, "somebody waited for Redis until its time-out"
        assert during_s < 2 * before_s
        if heal:
            heal()
            await load.until_hit(client)
        await load.cache.close()

    load.harness.run(use)
    return load


def test_redis_stops_answering_and_goes_on() -> None:
    with running_redis() as server:
        trouble(server, server.stop, server.go_on)


def test_redis_dies_and_is_started_again() -> None:
    with running_redis() as server:
        trouble(server, server.kill, server.start)


def test_a_full_redis_still_answers_what_it_has() -> None:
    with running_redis() as server, Redis.from_url(server.url) as client:

        def fill() -> None:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

        load = trouble(server, fill, lambda: None)
        # After the harm, too, as a refused write doesn't stop reading.
        assert load.hits() >= 2


def test_a_password_that_changes_is_a_miss() -> None:
    with running_redis() as server, Redis.from_url(server.url) as client:

        def change() -> None:
            client.config_set("requirepass", "hunter2")
            client.client_kill_filter(_type="normal", skipme=True)

        trouble(server, change, lambda: client.config_set("requirepass", ""))


def test_an_answer_that_comes_late_leaves_the_connection_usable() -> None:
    late: list[None] = []

    async def use(server: RedisServer) -> None:
        cache = RedisCache(server.url, timeout_s=20, on_late=lambda: late.append(None))
        assert await cache.get_many([b"a"]) == [None]
        server.stop()
        started_s = time.perf_counter()
        assert await cache.get_many([b"a"], within_s=0.05) == [None]
        assert time.perf_counter() - started_s < 10
        server.go_on()
        assert await cache.get_many([b"a"], within_s=20) == [None]
        assert len(late) == 1
        with Redis.from_url(server.url) as client:
            assert len([one for one in client.client_list() if one["cmd"] == "mget"]) == 2
        await cache.close()

    with running_redis() as server:
        asyncio.run(use(server))
