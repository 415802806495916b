"""Texts of concurrent requests in common batches: what is scored when, and for whom."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from fastapi import HTTPException
from harness import Harness, problem
from hypothesis import given
from hypothesis import strategies as st
from scorers import UnigramTable, table

from lmserve.errors import OptionError
from lmserve.scorer import WordScore
from lmserve.service.batching import Batcher, BatchLimits
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer, ScoreOptions, model_batcher

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


class CostlyTable(UnigramTable):
    """Waits for a signal before it scores; words of several texts, as `LanguageModel` has them."""

    def __init__(self) -> None:
        super().__init__({b"the": -1.0, b"cat": -2.0, b"</s>": -0.5})
        self.free = threading.Event()
        self.free.set()

    def score_texts(self, *args: Any, **options: Any) -> Any:
        assert self.free.wait(30)
        return super().score_texts(*args, **options)

    def score_words_of(self, texts: list[bytes], *, bos: bool, eos: bool) -> list[list[WordScore]]:
        self.batches.append(list(texts))
        return [self.score_words(text, bos=bos, eos=eos) for text in texts]


def served(model: CostlyTable, limits: BatchLimits = PATIENT) -> Harness:
    return Harness(model, batcher=lambda metrics: model_batcher(model, limits, metrics))  # type: ignore[arg-type]


def test_answers_are_those_without_batches() -> None:
    plain, costly = Harness(table()), served(CostlyTable())
    for body in (
        {"text": "the cat"},
        {"texts": ["the", "dog the", "", "the"], "eos": False},
        {"texts": ["the cat", "dog"], "words": True},
        {"texts": []},
    ):
        expected, got = plain.score(**body), costly.score(**body)  # type: ignore[arg-type]
        assert got == expected
    assert costly.count("lmserve_sentences_total") == 7
    assert costly.count("lmserve_batches_total") == 3


def test_a_small_request_overtakes_a_large_one() -> None:
    model = CostlyTable()
    metrics = ServiceMetrics(model.digest)
    batcher = model_batcher(model, PATIENT, metrics)  # type: ignore[arg-type]
    scorer = CachedScorer(model, cache=None, metrics=metrics, thread_bytes=0, batcher=batcher)

    async def use() -> None:
        model.free.clear()
        texts = [b"the cat %d" % i for i in range(1000)]
        large = asyncio.create_task(scorer.answers(texts, ScoreOptions()))
        await asyncio.sleep(0.01)
        small = asyncio.create_task(scorer.answers([b"small"], ScoreOptions()))
        await asyncio.sleep(0.01)
        model.free.set()
        await small
        assert not large.done()
        assert len(await large) == 1000

    run(use)
    at = next(i for i, batch in enumerate(model.batches) if b"small" in batch)
    assert at <= 2
    assert len(model.batches) == 100


def test_a_client_that_leaves_is_not_scored_for() -> None:
    model = CostlyTable()
    harness = served(model)

    async def use() -> None:
        model.free.clear()
        messages: list[dict[str, Any]] = []
        left = asyncio.Event()

        def request(text: bytes, gone: Awaitable[Any] | None) -> Coroutine[Any, Any, None]:
            body = iter([b'{"text": "%s"}' % text])

            async def receive() -> dict[str, Any]:
                if (piece := next(body, None)) is not None:
                    return {"type": "http.request", "body": piece}
                await (gone or asyncio.Event().wait())
                return {"type": "http.disconnect"}

            async def send(message: dict[str, Any]) -> None:
                messages.append(message)

            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "POST",
                "path": "/v1/score",
                "query_string": b"",
                "headers": [],
            }
            return harness.app(scope, receive, send)  # type: ignore[arg-type]

        running = asyncio.create_task(request(b"running", None))
        await asyncio.sleep(0.05)
        leaving = asyncio.create_task(request(b"leaving", left.wait()))
        await asyncio.sleep(0.05)
        left.set()
        await leaving
        assert messages == []
        model.free.set()
        await running
        assert len(messages) == 2

    run(use)
    assert model.batches == [[b"running"]]
    assert harness.count("lmserve_disconnects_total") == 1


def test_an_overdue_batch_is_a_problem_to_the_client() -> None:
    model = CostlyTable()
    harness = served(model, BatchLimits(wait_s=0, timeout_s=0.02))
    model.free.clear()
    threading.Timer(0.5, model.free.set).start()
    response = harness.request("POST", "/v1/score", json={"text": "the"})
    assert problem(response).status == 503
    assert response.headers["retry-after"] == "1"
    assert harness.count("lmserve_overdue_batches_total") == 1
