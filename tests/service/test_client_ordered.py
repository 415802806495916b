"""Several requests at once, whose results come in order."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import BinaryIO

import pytest
from client_kinds import KINDS, ONCE, stream
from harness import Harness
from raw_server import raw_server, read_texts, scoring, streamed
from restartable_server import RestartableServer, running_server

from lmserve.client import AsyncClient, Client
from lmserve.client.ordered import as_async, in_order, in_order_async


@pytest.fixture(scope="module")
def server() -> Iterator[RestartableServer]:
    with running_server(Harness().app) as server:
        yield server


def test_each_text_is_answered_before_the_next_is_given(server: RestartableServer) -> None:
    answered = threading.Semaphore(0)

    def texts() -> Iterator[str]:
        for number in range(10):
            yield "the " * number
            assert answered.acquire(timeout=20)

    answers = []
    with Client(server.url) as client:
        for one in client.score_stream(texts(), batch=1):
            answers.append(one["tokens"])
            answered.release()
    assert answers == list(range(1, 11))


def test_each_text_is_answered_before_the_next_is_given_on_a_loop(
    server: RestartableServer,
) -> None:
    async def in_loop() -> list[int]:
        answered: asyncio.Queue[int] = asyncio.Queue()

        async def texts() -> AsyncIterator[str]:
            for number in range(10):
                yield "the " * number
                assert await answered.get() == number + 1

        answers = []
        async with AsyncClient(server.url) as client:
            async for one in client.score_stream(texts(), batch=1):
                answers.append(one["tokens"])
                answered.put_nowait(one["tokens"])
        return answers

    assert asyncio.run(in_loop()) == list(range(1, 11))


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_requests_as_allowed_are_under_way(kind: str) -> None:
    """Each of three connections waits until all have a request; a fourth would have to wait."""
    together = threading.Barrier(3)

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        texts = read_texts(reader)
        together.wait(20)
        writer.write(streamed(*texts))
        scoring(reader, writer)

    with raw_server(handle, handle, handle, at_once=True) as url:
        texts = ["x" * number for number in range(30)]
        answers = stream(kind, url, texts, batch=2, client={"in_flight": 3})
    assert [-one["log10_prob"] for one in answers] == list(range(30))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyError("own"), ConnectionError("own"), TimeoutError("own")])
def test_what_the_texts_raise_comes_after_the_answers_before(
    kind: str, error: Exception, server: RestartableServer
) -> None:
    def texts() -> Iterator[str]:
        yield from ["the", "cat", "the"]
        raise error

    answers: list[object] = []
    with pytest.raises(type(error), match="own"):
        stream(kind, server.url, texts(), batch=1, answers=answers)
    assert len(answers) == 3


def test_a_consumer_may_pause_for_longer_than_the_timeout(server: RestartableServer) -> None:
    with Client(server.url, timeout_s=0.5, retry=ONCE) as client:
        answers = client.score_stream(["the"] * 1000, batch=100)
        next(answers)
        time.sleep(1.0)
        assert len(list(answers)) == 999


def test_results_come_in_order_whichever_is_ready_first() -> None:
    ready = [threading.Event() for _ in range(3)]

    def send(number: int, _: threading.Event) -> int:
        if number < 2:
            assert ready[number + 1].wait(20)
        ready[number].set()
        return number

    assert list(in_order(range(3), send, 3)) == [0, 1, 2]


def test_no_more_is_taken_than_was_dealt_with() -> None:
    taken = []

    def calls() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    for number in in_order(calls(), lambda number, _: number, 1):
        assert taken == list(range(number + 1))

    async def in_loop() -> None:
        taken.clear()

        async def send(number: int) -> int:
            return number

        async for number in in_order_async(as_async(calls()), send, 1):
            assert taken == list(range(number + 1))

    asyncio.run(in_loop())
    assert len(taken) == 10


def test_a_consumer_that_leaves_ends_all_threads() -> None:
    before = threading.active_count()
    under_way = threading.Semaphore(0)
    ended = threading.Semaphore(0)

    def send(number: int, left: threading.Event) -> int:
        if number:
            under_way.release()
            assert left.wait(20)
            ended.release()
        return number

    results = in_order(iter(range(100)), send, 3)
    assert next(results) == 0
    for _ in range(2):
        assert under_way.acquire(timeout=20)
    results.close()  # type: ignore[attr-defined]
    for _ in range(2):
        assert ended.acquire(timeout=20)
    deadline_s = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_consumer_that_leaves_cancels_all_tasks() -> None:
    cancelled = []

    async def send(number: int) -> int:
        if number:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(number)
                raise
        return number

    async def in_loop() -> None:
        async with aclosing(in_order_async(as_async(range(100)), send, 3)) as results:
            assert await anext(results) == 0
            while len(asyncio.all_tasks()) < 4:
                await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(in_loop())
    assert sorted(cancelled) == [1, 2]
