"""Token buckets in this process and in a real Redis, and what the routes make of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from harness import Harness, problem
from redis_server import RedisServer, running_redis

from lmserve.service.breaker import Breaker
from lmserve.service.keys import add_key
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.rate_limits import Limit, LocalRateLimiter, RateLimiter
from lmserve.service.redis_connection import connect
from lmserve.service.redis_rate_limits import RedisRateLimiter

# Comes back too slowly for a test to see.
SLOW = Limit(name="requests", per_s=0.001, capacity=3)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def using(limiter: RateLimiter, use: Callable[[RateLimiter], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await use(limiter)
        await limiter.close()

    asyncio.run(run())


def in_redis(server: RedisServer) -> RedisRateLimiter:
    return RedisRateLimiter(connect(server.url, timeout_s=5))


@pytest.mark.parametrize("shared", [False, True])
def test_a_bucket_gives_what_it_has(shared: bool, redis: RedisServer) -> None:
    async def use(limiter: RateLimiter) -> None:
        taken = [await limiter.take("a", SLOW, 1) for _ in range(4)]
        assert [one.allowed for one in taken] == [True, True, True, False]
        assert [round(one.level, 1) for one in taken] == [2.0, 1.0, 0.0, 0.0]
        assert (await limiter.take("b", SLOW, 3)).allowed
        # Nothing is taken for nothing, and a debt grants nothing.
        assert (await limiter.take("c", SLOW, 0)).level == 3
        assert (await limiter.take("c", SLOW, 5, on_credit=True)).level == pytest.approx(-2, 0.1)
        assert not (await limiter.take("c", SLOW, 0)).allowed

    using(in_redis(redis) if shared else LocalRateLimiter(), use)


def test_tokens_come_back_with_time() -> None:
    now_s = 0.0
    limiter = LocalRateLimiter(clock=lambda: now_s)
    limit = Limit(name="requests", per_s=2, capacity=3)

    async def levels() -> None:
        nonlocal now_s
        assert (await limiter.take("a", limit, 3)).level == 0
        now_s = 0.75
        assert (await limiter.take("a", limit, 0)).level == 1.5
        now_s = 60
        assert (await limiter.take("a", limit, 0)).level == 3

    asyncio.run(levels())


def test_tokens_come_back_with_redis_time(redis: RedisServer) -> None:
    limit = Limit(name="requests", per_s=50, capacity=1)

    async def use(limiter: RateLimiter) -> None:
        assert (await limiter.take("fast", limit, 1)).allowed
        async with asyncio.timeout(20):
            while not (await limiter.take("fast", limit, 1)).allowed:
                await asyncio.sleep(0.005)

    using(in_redis(redis), use)


def test_replicas_share_their_buckets_and_redis_forgets_them(redis: RedisServer) -> None:
    async def use(limiter: RateLimiter) -> None:
        other = in_redis(redis)
        taken = [await one.take("both", SLOW, 1) for one in (limiter, other, limiter, other)]
        assert [one.allowed for one in taken] == [True, True, True, False]
        await other.close()
        client = connect(redis.url, timeout_s=5)
        lives_ms = await client.pttl("lmserve:limit:1:both")
        assert 0 < lives_ms <= 3_001_000
        await client.aclose()

    using(in_redis(redis), use)


def test_a_failing_redis_leaves_local_limits() -> None:
    errors: list[None] = []
    with running_redis() as server:
        limiter = RedisRateLimiter(
            connect(server.url, timeout_s=5),
            on_error=lambda: errors.append(None),
            breaker=Breaker(first_pause_s=1e-6, longest_pause_s=1e-6),
        )

        async def use(limiter: RateLimiter) -> None:
            assert (await limiter.take("a", SLOW, 3)).allowed
            server.kill()
            taken = [await limiter.take("a", SLOW, 1) for _ in range(4)]
            assert [one.allowed for one in taken] == [True, True, True, False]
            assert errors
            server.start()
            assert (await limiter.take("a", SLOW, 1)).level == pytest.approx(2, 0.1)

        using(limiter, use)


def test_addresses_are_limited_where_there_are_no_keys() -> None:
    protection = ProtectionSettings(client_requests_per_s=0.001, client_burst=2, forwarded_hops=1)
    harness = Harness(protection=protection)

    def score(address: str) -> Any:
        # The client wrote the first entry; the trusted proxy the last one.
        forwarded = {"X-Forwarded-For": f"1.1.1.1, {address}"}
        return harness.request("POST", "/v1/score", json={"text": "the"}, headers=forwarded)

    first = score("10.0.0.1")
    assert first.status_code == 200
    assert first.headers["ratelimit-policy"] == '"requests";q=2;w=2000'
    assert first.headers["ratelimit"] == '"requests";r=1;t=1000'
    assert score("10.0.0.1").status_code == 200
    refused = score("10.0.0.1")
    assert problem(refused).status == 429
    assert 990 <= int(refused.headers["retry-after"]) <= 1000
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert score("10.0.0.2").status_code == 200
    assert harness.request("GET", "/healthz").status_code == 200
    assert harness.count("lmserve_rate_limited_requests_total", limit="requests") == 1
    assert harness.count("lmserve_refused_requests_total", reason="rate_limited") == 1


def keyed(tmp_path: Path, **limits: Any) -> tuple[Harness, dict[str, str]]:
    key = add_key(tmp_path / "keys", "me", **limits)
    protection = ProtectionSettings(api_keys_file=str(tmp_path / "keys"))
    return Harness(protection=protection), {"Authorization": f"Bearer {key}"}


def test_keys_have_limits_of_their_own(tmp_path: Path) -> None:
    harness, headers = keyed(tmp_path, requests_per_s=0.001, words_per_min=100)
    answer = harness.request("POST", "/v1/score", json={"text": "the"}, headers=headers)
    assert answer.headers["ratelimit-policy"] == '"requests";q=1;w=1000, "words";q=100;w=60'
    assert answer.headers["ratelimit"] == '"requests";r=0;t=1000, "words";r=100;t=0'
    refused = harness.request("POST", "/v1/score", json={"text": "the"}, headers=headers)
    assert "More requests than 0.06 a minute" in problem(refused).detail


def test_words_are_taken_when_they_are_scored(tmp_path: Path) -> None:
    harness, headers = keyed(tmp_path, words_per_min=1)
    text = {"text": "the " * 9}
    assert harness.request("POST", "/v1/score", json=text, headers=headers).status_code == 200
    refused = harness.request("POST", "/v1/score", json=text, headers=headers)
    assert problem(refused).status == 429
    assert 530 <= int(refused.headers["retry-after"]) <= 540
    assert harness.count("lmserve_rate_limited_requests_total", limit="words") == 1
    assert len(harness.scorer.batches) == 1


def stream(harness: Harness, headers: dict[str, str], lines: list[bytes]) -> list[dict[str, Any]]:
    async def pieces() -> AsyncIterator[bytes]:
        for line in lines:
            yield line + b"\n"

    answer = harness.request(
        "POST",
        "/v1/score/stream",
        content=pieces(),
        headers=headers | {"Content-Type": "text/plain"},
    )
    return [orjson.loads(line) for line in answer.content.splitlines()]


def test_a_stream_far_over_its_words_is_told_where_to_resume(tmp_path: Path) -> None:
    harness, headers = keyed(tmp_path, words_per_min=10)
    rows = stream(harness, headers, [b"the " * 40] * 5)
    assert [row.get("tokens") for row in rows] == [41, None]
    assert rows[-1]["line"] == 2
    assert rows[-1]["error"]["status"] == 429
    assert len(harness.scorer.batches) == 1


def test_a_stream_a_little_over_its_words_is_made_to_wait(tmp_path: Path) -> None:
    harness, headers = keyed(tmp_path, words_per_min=60_000)
    started_s = time.monotonic()
    rows = stream(harness, headers, [b"the " * 60_299, b"the"])
    assert [row["tokens"] for row in rows] == [60_300, 2]
    assert time.monotonic() - started_s >= 0.3
