"""Texts of concurrent requests in common batches: what is scored when, and for whom."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from lmserve.errors import OptionError
from lmserve.service.batching import Batcher, BatchLimits

PATIENT = BatchLimits(words=100, slice_words=40, wait_s=0.2, timeout_s=30)


class Lengths:
    """Scores a text by its length, when it is let to."""

    def __init__(self, limits: BatchLimits = PATIENT, *, held: bool = False) -> None:
        self.batches: list[list[bytes]] = []
        self.started = threading.Semaphore(0)
        self.free = threading.Event()
        if not held:
            self.free.set()
        self.overdue = 0
        self.batcher: Batcher[str, int] = Batcher(self._score, limits, on_overdue=self._count)

    def _score(self, texts: list[bytes], options: str) -> list[int]:
        self.batches.append(texts)
        self.started.release()
        assert self.free.wait(30)
        if b"bad" in texts:
            raise ArithmeticError("a text that cannot be scored")
        return [len(text) + 1000 * len(options) for text in texts]

    def _count(self) -> None:
        self.overdue += 1

    async def running(self) -> None:
        """Waits until a batch has begun."""
        assert await asyncio.to_thread(self.started.acquire, timeout=30)


def run(use: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await use()

    return asyncio.run(limited())


def test_what_arrives_during_a_batch_is_the_next_one() -> None:
    async def use() -> None:
        lengths = Lengths(held=True)
        first = asyncio.create_task(lengths.batcher.score([b"x"], ""))
        await lengths.running()
        others = [asyncio.create_task(lengths.batcher.score([b"x" * n], "")) for n in range(9)]
        await asyncio.sleep(0)
        lengths.free.set()
        assert await first == [1]
        assert [await other for other in others] == [[n] for n in range(9)]
        assert [len(batch) for batch in lengths.batches] == [1, 9]

    run(use)


def test_who_comes_alone_does_not_wait() -> None:
    async def use() -> None:
        lengths = Lengths(BatchLimits(wait_s=1000, timeout_s=2000))
        for _ in range(3):
            assert await lengths.batcher.score([b"abc"], "") == [3]

    run(use)


def test_those_of_the_last_batch_are_waited_for() -> None:
    async def use() -> None:
        lengths = Lengths(BatchLimits(wait_s=2), held=True)

        async def client(number: int) -> None:
            for _ in range(3):
                # Some come a little later than others, each time.
                for _ in range(5 * number):
                    await asyncio.sleep(0)
                await lengths.batcher.score([b"text"], "")

        clients = [asyncio.create_task(client(number)) for number in range(4)]
        await lengths.running()
        for _ in range(50):
            await asyncio.sleep(0)
        lengths.free.set()
        await asyncio.gather(*clients)
        assert [len(batch) for batch in lengths.batches] == [1, 4, 4, 3]

    run(use)


def test_nobody_is_waited_for_longer_than_allowed() -> None:
    async def use() -> None:
        lengths = Lengths(BatchLimits(wait_s=0.01), held=True)
        first = [asyncio.create_task(lengths.batcher.score([b"x"], "")) for _ in range(5)]
        await lengths.running()
        lengths.free.set()
        await asyncio.gather(*first)
        assert await lengths.batcher.score([b"abc"], "") == [3]

    run(use)


def test_batches_have_equal_options_and_no_more_words_than_allowed() -> None:
    async def use() -> None:
        lengths = Lengths(held=True)
        tasks = [asyncio.create_task(lengths.batcher.score([b"x"], "a"))]
        await lengths.running()
        for options in ("a", "b", "a", "b"):
            text = b"y " * 37 + options.encode()
            tasks.append(asyncio.create_task(lengths.batcher.score([text], options)))
            tasks.append(asyncio.create_task(lengths.batcher.score([text + b"2"], options)))
        await asyncio.sleep(0)
        lengths.free.set()
        results = await asyncio.gather(*tasks)
        assert all(result[0] > 1000 for result in results)
        kinds = [{text.rstrip(b"2")[-1:] for text in batch} for batch in lengths.batches[1:]]
        assert kinds == [{b"a"}, {b"b"}, {b"a"}, {b"b"}]

    run(use)


@given(st.lists(st.integers(0, 100)), st.integers(1, 100))
def test_slices_are_the_texts_in_order_and_small(sizes: list[int], slice_words: int) -> None:
    lengths = Lengths(BatchLimits(slice_words=slice_words))
    texts = [b"w " * size for size in sizes]
    slices = [list(part) for part in lengths.batcher.slices(texts)]
    assert [text for part in slices for text in part] == texts
    for part in slices:
        assert part
        assert len(part) == 1 or sum(text.count(b" ") + 2 for text in part) <= slice_words


def test_a_long_text_holds_up_no_others() -> None:
    async def use() -> None:
        long = b"w " * 101
        blocked, busy = threading.Event(), threading.Event()

        def score(texts: list[bytes], _: str) -> list[int]:
            if long in texts:
                busy.set()
                assert blocked.wait(30)
            return [len(text) for text in texts]

        batcher: Batcher[str, int] = Batcher(score, PATIENT)
        slow = asyncio.create_task(batcher.score([long], ""))
        assert await asyncio.to_thread(busy.wait, 30)
        assert await batcher.score([b"abc"], "") == [3]
        assert not slow.done()
        blocked.set()
        assert await slow == [202]

    run(use)


def test_what_takes_too_long_is_refused_and_so_are_those_behind_it() -> None:
    async def use() -> None:
        lengths = Lengths(BatchLimits(wait_s=0, timeout_s=0.05), held=True)
        tasks = [asyncio.create_task(lengths.batcher.score([b"x"], ""))]
        await lengths.running()
        tasks.append(asyncio.create_task(lengths.batcher.score([b"y"], "")))
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, HTTPException)
            assert error.status_code == 503
            assert error.headers == {"Retry-After": "1"}
        # At once, as long as the thread is busy.
        with pytest.raises(HTTPException):
            await lengths.batcher.score([b"z"], "")
        assert lengths.overdue == 1
        lengths.free.set()
        while True:
            try:
                assert await lengths.batcher.score([b"abc"], "") == [3]
                break
            except HTTPException:
                await asyncio.sleep(0.001)
        assert [b"y"] not in lengths.batches

    run(use)


def test_a_request_that_went_away_is_not_scored() -> None:
    async def use() -> None:
        lengths = Lengths(held=True)
        tasks = [asyncio.create_task(lengths.batcher.score([b"running"], ""))]
        await lengths.running()
        waiting = (lengths.batcher.score([text], "") for text in (b"gone", b"stays"))
        tasks += map(asyncio.create_task, waiting)
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
        lengths.free.set()
        assert await tasks[2] == [5]
        assert lengths.batches == [[b"running"], [b"stays"]]

    run(use)


def test_a_bad_text_fails_alone() -> None:
    async def use() -> None:
        lengths = Lengths(held=True)
        tasks = [asyncio.create_task(lengths.batcher.score([b"x"], ""))]
        await lengths.running()
        waiting = (lengths.batcher.score([text], "") for text in (b"one", b"bad", b"four"))
        tasks += map(asyncio.create_task, waiting)
        await asyncio.sleep(0)
        lengths.free.set()
        _, one, bad, four = await asyncio.gather(*tasks, return_exceptions=True)
        assert (one, four) == ([3], [4])
        assert isinstance(bad, ArithmeticError)

    run(use)


@pytest.mark.parametrize(
    "limits", [{"words": 0}, {"slice_words": 0}, {"wait_s": -1}, {"wait_s": 2, "timeout_s": 2}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        BatchLimits(**limits)
