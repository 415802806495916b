"""Caches: the in-process twin, and Redis in good and bad health."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis_server import RedisServer, running_redis

from lmserve.errors import OptionError
from lmserve.scorer import TextScore
from lmserve.service.breaker import Breaker
from lmserve.service.cache import LruCache, pack, unpack
from lmserve.service.redis_cache import RedisCache

ONE = TextScore(-1.5, 3, 1)
TWO = TextScore(-math.inf, 2, 0)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as redis:
        yield redis


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def with_cache(
    url: str, use: Callable[[RedisCache], Coroutine[Any, Any, Any]], **options: Any
) -> Any:
    async def run() -> Any:
        cache = RedisCache(url, **options)
        try:
            return await use(cache)
        finally:
            await cache.close()

    return asyncio.run(run())


@given(
    st.builds(
        TextScore,
        st.floats(max_value=0),
        st.integers(1000, 2**32 - 1),
        st.integers(0, 1000),
    )
)
def test_a_packed_score_comes_back_as_it_was(score: TextScore) -> None:
    assert len(pack(score)) == 16
    assert unpack(pack(score)) == score


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x" * 15,
        b"x" * 17,
        pack(TextScore(math.nan, 1, 0)),
        pack(TextScore(math.inf, 1, 0)),
        pack(TextScore(5.0, 1, 0)),
        pack(TextScore(-1.0, 1, 2)),
    ],
)
def test_what_is_no_score_is_not_read_as_one(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"score|vocabulary"):
        unpack(value)


def test_the_least_recently_used_score_goes_first() -> None:
    async def use() -> None:
        cache = LruCache(2)
        await cache.set_many({b"a": ONE, b"b": TWO})
        assert await cache.get_many([b"a", b"x"]) == [ONE, None]
        await cache.set_many({b"c": TWO})
        assert await cache.get_many([b"a", b"b", b"c"]) == [ONE, None, TWO]
        await cache.close()
        assert await cache.get_many([b"a"]) == [None]

    asyncio.run(use())


def test_a_cache_of_no_entries_keeps_nothing() -> None:
    async def use() -> None:
        cache = LruCache(0)
        await cache.set_many({b"a": ONE})
        assert await cache.get_many([b"a"]) == [None]

    asyncio.run(use())
    with pytest.raises(OptionError):
        LruCache(-1)


def test_pauses_grow_and_let_one_trial_through() -> None:
    clock = Clock()
    breaker = Breaker(first_pause_s=1, longest_pause_s=3, clock=clock)
    assert breaker.allows()
    for pause_s in (1, 2, 3, 3):
        breaker.failed()
        clock.now_s += 0.9 * pause_s
        assert not breaker.allows()
        clock.now_s += 0.2 * pause_s
        assert breaker.allows()
        assert not breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.allows()


def test_a_breaker_tells_when_it_opens_and_closes() -> None:
    told: list[bool] = []
    breaker = Breaker(on_change=told.append)
    breaker.succeeded()
    assert told == []
    breaker.failed()
    breaker.failed()
    assert told == [True]
    breaker.succeeded()
    breaker.succeeded()
    assert told == [True, False]


def test_failures_of_the_same_moment_are_one() -> None:
    clock = Clock()
    breaker = Breaker(first_pause_s=1, longest_pause_s=100, clock=clock)
    known = breaker.failures
    for _ in range(10):
        breaker.failed(known)
    clock.now_s += 1.1
    assert breaker.allows()
    breaker.failed(breaker.failures)
    clock.now_s += 1.1
    assert not breaker.allows()


def test_redis_keeps_scores_for_a_while(server: RedisServer) -> None:
    async def use(cache: RedisCache) -> None:
        keys = [b"many:%d" % i for i in range(1500)]
        await cache.set_many(dict.fromkeys(keys[::2], ONE))
        assert await cache.get_many(keys) == [ONE, None] * 750
        assert await cache.get_many([]) == []

    errors: list[None] = []
    with_cache(server.url, use, time_to_live_s=60, on_error=lambda: errors.append(None))
    assert errors == []
    with Redis.from_url(server.url) as redis:
        assert 0 < redis.ttl("many:0") <= 60


def test_values_of_others_are_misses(server: RedisServer) -> None:
    with Redis.from_url(server.url) as redis:
        redis.set("bad:1", b"\x80\x04K\x01.")
        redis.set("bad:2", pack(TextScore(math.nan, 0, 0)))
        redis.lpush("bad:3", "a list")
    errors: list[None] = []
    keys = [b"bad:1", b"bad:2", b"bad:3"]
    got = with_cache(
        server.url, lambda cache: cache.get_many(keys), on_error=lambda: errors.append(None)
    )
    assert got == [None, None, None]
    assert len(errors) == 2


def test_a_dead_server_costs_one_trial_a_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(cache: RedisCache) -> None:
        for _ in range(100):
            assert await cache.get_many([b"a", b"b"]) == [None, None]
            await cache.set_many({b"a": ONE})

    errors: list[None] = []
    url = f"unix://{tmp_path}/nobody?password=hunter2"
    with caplog.at_level(logging.DEBUG):
        with_cache(url, use, on_error=lambda: errors.append(None))
    assert len(errors) == 1
    records = [record for record in caplog.records if record.name.startswith("lmserve")]
    assert len(records) == 1
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "reply", [b"", b":7\r\n", b"*1\r\n:7\r\n", b"*2\r\n$-1\r\n$-1\r\n", b"HTTP/1.1 400 No\r\n\r\n"]
)
def test_a_server_that_is_no_redis_is_given_up(tmp_path: Path, reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000):
            writer.write(reply)
        writer.close()

    async def use() -> float:
        server = await asyncio.start_unix_server(answer, tmp_path / "s")
        # The old protocol, as it needs no greeting.
        cache = RedisCache(f"unix://{tmp_path}/s?protocol=2", timeout_s=0.1)
        started_s = time.monotonic()
        assert await cache.get_many([b"a"]) == [None]
        assert await cache.get_many([b"a"]) == [None]
        seconds = time.monotonic() - started_s
        await cache.close()
        server.close()
        await server.wait_closed()
        return seconds

    assert asyncio.run(use()) < 2


def test_scores_come_back_when_redis_does() -> None:
    clock = Clock()

    async def use(cache: RedisCache) -> None:
        await cache.set_many({b"a": ONE})
        assert await cache.get_many([b"a"]) == [ONE]
        server.kill()
        assert await cache.get_many([b"a"]) == [None]
        server.start()
        assert await cache.get_many([b"a"]) == [None]
        clock.now_s += 10
        assert await cache.get_many([b"a"]) == [None]
        await cache.set_many({b"a": TWO})
        assert await cache.get_many([b"a"]) == [TWO]

    with running_redis() as server:
        with_cache(server.url, use, breaker=Breaker(clock=clock))


def test_the_password_comes_from_the_url_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def works(cache: RedisCache) -> bool:
        await cache.set_many({b"a": ONE})
        return await cache.get_many([b"a"]) == [ONE]

    with running_redis("hunter2") as server:
        assert not with_cache(server.url, works)
        assert with_cache(f"{server.url}?password=hunter2", works)
        monkeypatch.setenv("LMSERVE_REDIS_PASSWORD", "hunter2")
        assert with_cache(server.url, works)
        monkeypatch.setenv("LMSERVE_REDIS_PASSWORD", "hunter3")
        assert not with_cache(server.url, works)
        monkeypatch.delenv("LMSERVE_REDIS_PASSWORD")
        (tmp_path / "secret").write_text("hunter2\n")
        monkeypatch.setenv("LMSERVE_REDIS_PASSWORD_FILE", str(tmp_path / "secret"))
        assert with_cache(server.url, works)
    assert "hunter" not in caplog.text


def test_settings_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as refused:
        RedisCache("http://:hunter2@somewhere")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(OptionError):
        RedisCache("redis://localhost", time_to_live_s=0)
    monkeypatch.setenv("LMSERVE_REDIS_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(OptionError, match="missing"):
        RedisCache("redis://localhost")
