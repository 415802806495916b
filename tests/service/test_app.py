"""The routes over ASGI: what they answer and what is counted."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import orjson
import pytest
from harness import Harness, problem, scope
from redis_server import running_redis
from scorers import UnigramTable

from lmserve.records import score_record
from lmserve.scorer import Scorer, Text, TextScores
from lmserve.service import scoring
from lmserve.service.breaker import Breaker
from lmserve.service.cache import LruCache
from lmserve.service.context import Service
from lmserve.service.redis_cache import RedisCache
from lmserve.service.schemas import ScoreAnswer
from lmserve.service.served import Catalogue
from lmserve.service.settings import ServiceSettings


def test_one_text_and_several_have_answers_of_one_shape() -> None:
    harness = Harness()
    [single] = harness.score(text="the cat").scores
    assert single == ScoreAnswer(log10_prob=-3.5, perplexity=10 ** (3.5 / 3), tokens=3, oov=0)
    answer = harness.score(texts=["the cat", "", "dog"])
    assert answer.model == harness.scorer.digest
    assert answer.scores[0] == single
    assert [score.tokens for score in answer.scores] == [3, 1, 2]
    assert [score.oov for score in answer.scores] == [0, 0, 1]
    assert harness.score(texts=[]).scores == []


def test_words_add_up_to_the_text() -> None:
    [score] = Harness().score(text="the dog", words=True).scores
    assert score.words is not None
    assert [word.word for word in score.words] == ["the", "dog", "</s>"]
    assert sum(word.log10_prob or 0 for word in score.words) == score.log10_prob
    assert [word.oov for word in score.words] == [False, True, False]


def test_options_reach_the_model_and_part_the_cache() -> None:
    harness = Harness()
    assert harness.score(text="the").scores[0].tokens == 2
    assert harness.score(text="the", eos=False).scores[0].tokens == 1
    assert harness.score(text="", eos=False).scores[0].perplexity == 1


def test_what_is_infinite_is_null() -> None:
    response = Harness().request("POST", "/v1/score", json={"text": "never", "words": True})
    [score] = orjson.loads(response.content)["scores"]
    assert score["log10_prob"] is None
    assert score["perplexity"] is None
    assert score["words"][0]["log10_prob"] is None


def test_a_text_is_scored_once() -> None:
    harness = Harness()
    harness.score(texts=["the", "cat", "the"])
    harness.score(texts=["cat", "dog"])
    assert isinstance(harness.scorer, UnigramTable)
    assert harness.scorer.batches == [[b"the", b"cat"], [b"dog"]]
    assert harness.count("lmserve_cache_hits_total") == 1
    assert harness.count("lmserve_cache_misses_total") == 4
    assert harness.count("lmserve_sentences_total") == 5


def test_the_stream_answers_line_by_line() -> None:
    harness = Harness()
    response = harness.request(
        "POST", "/v1/score/stream?words=true&eos=false", content=b'"the"\n\n{"text": "cat"}'
    )
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["x-model-digest"] == harness.scorer.digest
    first, error, last = response.content.splitlines()
    assert ScoreAnswer.model_validate_json(first).tokens == 1
    assert orjson.loads(error)["line"] == 2
    assert ScoreAnswer.model_validate_json(last).words is not None


def test_the_stream_takes_plain_text() -> None:
    response = Harness(max_line_bytes=10).request(
        "POST",
        "/v1/score/stream",
        content=b"the\n\n" + b"x" * 11 + b"\ncat",
        headers={"Content-Type": "Text/Plain; charset=utf-8"},
    )
    answers = [orjson.loads(line) for line in response.content.splitlines()]
    assert [answer.get("tokens") for answer in answers] == [2, 1, None, 2]
    assert answers[2]["error"]["status"] == 413


def test_lines_of_the_stream_are_shorter_with_words() -> None:
    harness = Harness(max_words_bytes=10)
    content = b"x" * 11 + b"\ncat"
    headers = {"Content-Type": "text/plain"}
    for words, bad in (("true", True), ("false", False)):
        path = f"/v1/score/stream?words={words}"
        response = harness.request("POST", path, content=content, headers=headers)
        first, last = response.content.splitlines()
        assert ("error" in orjson.loads(first)) == bad
        assert orjson.loads(last)["tokens"] == 2


def test_the_stream_is_duplex_and_loses_no_line() -> None:
    """Each piece is sent when the answer to the last one is there, as no buffer would allow."""
    harness = Harness()
    answered = asyncio.Event()
    sent = 0
    lines: list[bytes] = []

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.wait_for(answered.wait(), 10)
            answered.clear()
        sent += 1
        return {"type": "http.request", "body": b'"the"\n', "more_body": sent < 200}

    async def send(message: dict[str, Any]) -> None:
        if body := message.get("body"):
            lines.extend(body.splitlines())
            answered.set()

    asyncio.run(harness.app(scope("/v1/score/stream"), receive, send))  # type: ignore[arg-type]
    assert len(lines) == sent == 200


def test_big_batches_leave_the_event_loop() -> None:
    threads: list[str] = []

    class Watched(UnigramTable):
        def score_texts(
            self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
        ) -> TextScores:
            threads.append(threading.current_thread().name)
            return super().score_texts(texts, bos=bos, eos=eos)

    harness = Harness(Watched({}), thread_bytes=100)
    harness.score(text="x" * 99)
    harness.score(text="x" * 100)
    assert [name == "MainThread" for name in threads] == [True, False]


def test_word_scores_become_json_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def watched(*scores: Any) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return score_record(*scores)

    monkeypatch.setattr(scoring, "score_record", watched)
    Harness().score(texts=["the cat", "dog"], words=True)
    assert len(threads) == 2
    assert "MainThread" not in threads


def test_a_small_request_takes_no_worker_thread() -> None:
    """The way to a thread and back costs several times as much as the scores."""
    threads: set[str] = set()

    class Watched(UnigramTable):
        def score_texts(
            self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
        ) -> TextScores:
            threads.update(thread.name for thread in threading.enumerate())
            return super().score_texts(texts, bos=bos, eos=eos)

    Harness(Watched({})).score(text="the cat")
    assert "MainThread" in threads
    assert not [name for name in threads if "AnyIO" in name or "asyncio" in name]


def test_health_and_metrics() -> None:
    harness = Harness()
    harness.score(text="the dog")
    health = harness.request("GET", "/healthz")
    assert health.json() == {"status": "ok", "model": harness.scorer.digest}
    metrics = harness.request("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "lmserve_words_total 3.0" in metrics.text
    assert 'lmserve_requests_total{route="/v1/score",status="200"} 1.0' in metrics.text


def test_models_are_asked_for_by_name() -> None:
    harness = Harness()
    assert harness.score(text="the cat", model="table") == harness.score(text="the cat")
    refused = problem(harness.request("POST", "/v1/score", json={"text": "", "model": "tabel"}))
    assert refused.status == 404
    assert refused.detail == "There is no model 'tabel'; there are: table."
    stream = "/v1/score/stream?model=tabel"
    assert problem(harness.request("POST", stream, content=b"")).status == 404


def test_the_openapi_document_shows_bodies_units_and_problems() -> None:
    document = Harness().request("GET", "/openapi.json").json()
    score = document["paths"]["/v1/score"]["post"]
    assert score["requestBody"]["content"]["application/json"]["schema"]["examples"]
    statuses = {"200", "400", "404", "408", "409", "413", "415", "422", "503"}
    assert set(score["responses"]) == statuses
    assert "application/problem+json" in score["responses"]["422"]["content"]
    stream = document["paths"]["/v1/score/stream"]["post"]
    assert {one["name"] for one in stream["parameters"]} == {"model", "words", "bos", "eos"}
    fields = document["components"]["schemas"]["ScoreAnswer"]["properties"]
    assert "log10" in fields["log10_prob"]["description"]


def test_redis_may_die_and_come_back_while_requests_go_on() -> None:
    with running_redis() as server:
        cache = RedisCache(server.url, breaker=Breaker(first_pause_s=0.05, longest_pause_s=0.1))
        harness = Harness(cache=cache)

        async def hits(client: httpx.AsyncClient) -> float:
            before = harness.count("lmserve_cache_hits_total") or 0
            response = await client.post("/v1/score", json={"texts": ["the", "cat"]})
            assert response.status_code == 200
            return (harness.count("lmserve_cache_hits_total") or 0) - before

        async def until_hits(client: httpx.AsyncClient) -> None:
            async with asyncio.timeout(20):
                while await hits(client) < 2:
                    await asyncio.sleep(0.02)

        async def use(client: httpx.AsyncClient) -> None:
            await until_hits(client)
            server.kill()
            assert [await hits(client) for _ in range(5)] == [0] * 5
            server.start()
            await until_hits(client)
            await cache.close()

        harness.run(use)


def test_closing_the_application_closes_the_cache() -> None:
    class Closed(LruCache):
        closed = False

        async def close(self) -> None:
            self.closed = True

    cache = Closed()
    harness = Harness(cache=cache)

    async def live() -> None:
        async with harness.app.router.lifespan_context(harness.app):
            assert not cache.closed

    asyncio.run(live())
    assert cache.closed


def test_a_real_model_behind_the_service(tiny_model: Scorer) -> None:
    texts = ["the cat sat", "", "unheard-of words"]
    answer = Harness(tiny_model).score(texts=texts, words=True)
    expected = tiny_model.score_texts(texts)
    for score, log10_prob, tokens in zip(
        answer.scores, expected.log10_prob, expected.tokens, strict=True
    ):
        assert score.log10_prob == pytest.approx(float(log10_prob))
        assert score.tokens == tokens
        assert score.words is not None
        assert sum(word.log10_prob or 0 for word in score.words) == pytest.approx(log10_prob)


def test_a_service_without_models_is_not_ready() -> None:
    harness = Harness()
    assert harness.request("GET", "/readyz").json()["models"] == ["table"]
    harness.app.state.service = Service(
        models=Catalogue({}), metrics=harness.metrics, settings=ServiceSettings()
    )
    answer = harness.request("GET", "/readyz")
    assert problem(answer).detail == "No model is loaded."
    assert answer.headers["retry-after"] == "2"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/score", {"json": {"text": "the"}}),
        ("GET", "/healthz", {}),
    ]
    for method, path, options in requests:
        assert problem(harness.request(method, path, **options)).status == 503
