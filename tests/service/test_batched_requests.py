"""Requests to a costly model: the answers of any model, in batches that are fair."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from harness import Harness, problem
from scorers import UnigramTable, table

from lmserve.scorer import WordScore
from lmserve.service.batching import BatchLimits
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer, ScoreOptions, model_batcher

LIMITS = BatchLimits(words=100, slice_words=40, wait_s=0.2, timeout_s=30)


def run(use: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await use()

    return asyncio.run(limited())


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


def served(model: CostlyTable, limits: BatchLimits = LIMITS) -> Harness:
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
    metrics = ServiceMetrics()
    batcher = model_batcher(model, LIMITS, metrics)  # type: ignore[arg-type]
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
