"""Spans of requests, in OpenTelemetry's own memory exporter."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness import Harness
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from otlp_receiver import running_otlp_receiver
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from redis_server import running_redis
from scorers import UnigramTable

from lmserve.service import tracing
from lmserve.service.redis_cache import RedisCache

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(provider)
    yield exporter
    tracing.stop()


def context(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


def test_a_request_is_a_span_of_its_callers_trace(spans: InMemorySpanExporter) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "mine"}
    Harness().request("POST", "/v1/score", json={"text": "the cat"}, headers=headers)
    get, scoring, request = spans.get_finished_spans()
    assert request.name == "POST /v1/score"
    assert request.kind is SpanKind.SERVER
    assert format(context(request).trace_id, "032x") == TRACE
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == PARENT
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/score",
        "http.response.status_code": 200,
        "lmserve.request_id": "mine",
        "lmserve.texts": 1,
        "lmserve.words": 3,
    }
    assert [span.name for span in (get, scoring)] == ["cache.get", "score"]
    for span in (get, scoring):
        assert span.parent is not None
        assert span.parent.span_id == context(request).span_id


@pytest.mark.usefixtures("spans")
def test_durations_have_the_trace_as_exemplar() -> None:
    harness = Harness()
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    harness.request("POST", "/v1/score", json={"text": "the cat"}, headers=headers)
    accepted = {"Accept": "application/openmetrics-text; version=1.0.0"}
    told = harness.request("GET", "/metrics", headers=accepted)
    assert told.headers["content-type"].startswith("application/openmetrics-text")
    found = [
        sample.exemplar.labels
        for family in text_string_to_metric_families(told.text)
        for sample in family.samples
        if sample.exemplar is not None and sample.labels["route"] == "/v1/score"
    ]
    assert found == [{"trace_id": TRACE}]
    plain = harness.request("GET", "/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert TRACE not in plain.text


def test_a_collector_receives_one_trace_down_to_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real receiver of OTLP, a real Redis, and the caller's trace around all."""
    with running_otlp_receiver() as receiver, running_redis() as redis:
        monkeypatch.setenv(tracing.ENDPOINT_VARIABLE, receiver.url)
        tracing.start_from_environment()
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        cache = RedisCache(redis.url)

        async def use(client: httpx.AsyncClient) -> None:
            await client.post("/v1/score", json={"text": "the"}, headers=headers)
            await cache.close()

        Harness(cache=cache).run(use)
        tracing.stop()
    ids = {
        a.key: a.value.string_value for one in receiver.resources for a in one.resource.attributes
    }
    assert ids["service.instance.id"] == tracing.instance_id()
    found = {span.name: span for span in receiver.spans}
    assert {"POST /v1/score", "cache.get", "score", "MGET"} <= set(found)
    assert {span.trace_id.hex() for span in found.values()} == {TRACE}
    assert found["POST /v1/score"].parent_span_id.hex() == PARENT
    assert found["cache.get"].parent_span_id == found["POST /v1/score"].span_id
    assert found["MGET"].parent_span_id == found["cache.get"].span_id


def test_a_failed_request_is_an_error(spans: InMemorySpanExporter) -> None:
    class Broken(UnigramTable):
        def score_texts(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError("it broke")

    Harness(Broken({})).request("POST", "/v1/score", json={"text": "the"})
    request = spans.get_finished_spans()[-1]
    assert request.status.status_code is StatusCode.ERROR
    assert request.parent is None


def test_without_a_collector_nothing_is_imported_or_done() -> None:
    program = (
        "import sys\n"
        "from lmserve.service import tracing\n"
        "tracing.start_from_environment()\n"
        "with tracing.span('score', texts=1): pass\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_a_collector_that_does_not_answer_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracing.ENDPOINT_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    tracing.start_from_environment()
    try:
        assert Harness().score(text="the").scores[0].tokens == 2
    finally:
        tracing.stop()
