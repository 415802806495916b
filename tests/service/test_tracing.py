"""Spans of requests, in OpenTelemetry's own memory exporter."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Harness
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from scorers import UnigramTable

from lmserve.service import tracing

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
