"""Stores of states: the in-process twin, and Redis in good and bad health."""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis_server import RedisServer, running_redis

from lmserve.errors import OptionError, ServiceError
from lmserve.service.breaker import Breaker
from lmserve.service.redis_state_store import RedisStateStore
from lmserve.service.state_store import MemoryStateStore, StateStore, is_id, new_id

STATES = [b"one", b"", bytes(range(256)) * 40]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as redis:
        yield redis


def run(store: StateStore, use: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    async def used() -> Any:
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(used())


async def keeps(store: StateStore) -> None:
    identifiers = await store.keep(STATES)
    again = await store.keep(STATES)
    assert len({*identifiers, *again}) == 6
    for state, identifier in zip(STATES, identifiers, strict=True):
        assert identifier is not None
        assert is_id(identifier)
        assert await store.find(identifier) == state
    assert await store.find(new_id()) is None
    assert await store.keep([]) == []


def test_states_come_back_as_they_were(server: RedisServer) -> None:
    run(MemoryStateStore(), keeps)
    run(RedisStateStore(server.url), keeps)


def test_identifiers_have_128_bits() -> None:
    identifiers = {new_id() for _ in range(1000)}
    assert len(identifiers) == 1000
    assert all(re.fullmatch("[A-Za-z0-9_-]{22}", one) for one in identifiers)
    wrong = ["", "A" * 21, "A" * 23, "A" * 21 + "*", "A" * 22 + "\n", "\u0661" * 22]
    assert not any(map(is_id, wrong))


def test_states_are_forgotten_after_their_time(server: RedisServer) -> None:
    now_s = 0.0

    async def use(store: MemoryStateStore) -> None:
        nonlocal now_s
        [first] = await store.keep([b"first"])
        now_s = 6
        [second] = await store.keep([b"second"])
        now_s = 11
        assert await store.find(str(first)) is None
        assert await store.find(str(second)) == b"second"

    run(MemoryStateStore(time_to_live_s=10, clock=lambda: now_s), use)
    store = RedisStateStore(server.url, time_to_live_s=60)
    [identifier] = run(store, lambda store: store.keep([b"x"]))
    with Redis.from_url(server.url) as redis:
        assert 0 < redis.ttl(f"lmserve:state:1:{identifier}") <= 60


def test_memory_is_bounded() -> None:
    async def use(store: MemoryStateStore) -> None:
        identifiers = await store.keep([b"x" * 1000] * 5)
        found = [await store.find(str(identifier)) is not None for identifier in identifiers]
        assert found == [False, False, True, True, True]

    run(MemoryStateStore(4000), use)


@pytest.mark.parametrize("options", [{"max_bytes": -1}, {"time_to_live_s": 0}])
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        MemoryStateStore(**options)
    with pytest.raises(OptionError):
        RedisStateStore("redis://localhost", time_to_live_s=0)
    with pytest.raises(OptionError):
        RedisStateStore("http://:hunter2@localhost")


def test_a_dead_server_costs_one_trial_a_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(store: StateStore) -> None:
        for _ in range(50):
            assert await store.keep([b"a", b"b"]) == [None, None]
            with pytest.raises(ServiceError, match="again later"):
                await store.find(new_id())

    errors: list[None] = []
    url = f"unix://{tmp_path}/nobody?password=hunter2"
    breaker = Breaker(clock=lambda: 0.0)
    with caplog.at_level(logging.DEBUG):
        run(RedisStateStore(url, on_error=lambda: errors.append(None), breaker=breaker), use)
    assert len(errors) == 1
    [record] = [record for record in caplog.records if record.name.startswith("lmserve")]
    assert record.getMessage().startswith("state store: ")
    assert "hunter2" not in caplog.text


def test_a_full_server_keeps_nothing() -> None:
    async def use(store: StateStore) -> None:
        [identifier] = await store.keep([b"a"])
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory", "1")
        assert await store.keep([b"b"] * 3) == [None] * 3
        assert len(errors) == 1
        assert await store.find(str(identifier)) == b"a"

    errors: list[None] = []
    with running_redis() as server:
        run(RedisStateStore(server.url, on_error=lambda: errors.append(None)), use)


def test_what_others_wrote_is_no_state(server: RedisServer) -> None:
    identifier = new_id()
    with Redis.from_url(server.url) as redis:
        redis.lpush(f"lmserve:state:1:{identifier}", "a list")

    async def use(store: StateStore) -> None:
        with pytest.raises(ServiceError):
            await store.find(identifier)

    run(RedisStateStore(server.url), use)
