"""OpenTelemetry spans: one of each request, and within it of scoring, cache and Redis.

Nothing is imported and nothing done unless `OTEL_EXPORTER_OTLP_ENDPOINT` says where spans go.
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from lmserve.service.request_record import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_ENDPOINT_VARIABLES = (ENDPOINT_VARIABLE, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

logger = logging.getLogger(__name__)

_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None


def start_from_environment() -> None:
    """Starts tracing where the environment names a collector; without packages, says so."""
    if _provider is not None or not any(os.environ.get(name) for name in _ENDPOINT_VARIABLES):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("no traces: OpenTelemetry is missing; pip install 'lmserve[otel]'")
        return
    name = os.environ.get("OTEL_SERVICE_NAME", "lmserve")
    resource = Resource.create({"service.name": name, "service.instance.id": instance_id()})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    start(provider)


def start(provider: "TracerProvider") -> None:
    """Has spans go where `provider` sends them."""
    global _provider, _tracer
    _provider = provider
    _tracer = provider.get_tracer("lmserve")


def stop() -> None:
    """Sends what is left, and ends tracing."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def instance_id() -> str:
    """What tells this process from others, in spans and in the log."""
    return f"{socket.gethostname()}:{os.getpid()}"


def redis_span(command: str) -> AbstractContextManager[Any]:
    """A span of a command that Redis is sent, named as OpenTelemetry's conventions have it."""
    if _tracer is None:
        return nullcontext()
    from opentelemetry.trace import SpanKind

    attributes = {"db.system.name": "redis", "db.operation.name": command}
    return _tracer.start_as_current_span(command, kind=SpanKind.CLIENT, attributes=attributes)


def span(name: str, **attributes: int | str) -> AbstractContextManager[Any]:
    """A span of what the block does, within the present one; nothing without tracing."""
    if _tracer is None:
        return nullcontext()
    return _tracer.start_as_current_span(name, attributes=attributes)


@contextmanager
def request_span(headers: Mapping[str, str], method: str, record: RequestRecord) -> Iterator[None]:
    """The span of a request, within the caller's where its `traceparent` (W3C) names one."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(headers)
    with _tracer.start_as_current_span(method, context, kind=SpanKind.SERVER) as opened:
        if opened.get_span_context().trace_flags.sampled:
            record.trace_id = format(opened.get_span_context().trace_id, "032x")
        try:
            yield
        finally:
            _describe(opened, method, record)


def _describe(opened: "Span", method: str, record: RequestRecord) -> None:
    """Names what OpenTelemetry's conventions for HTTP name, and what was scored."""
    from opentelemetry.trace import StatusCode

    opened.update_name(f"{method} {record.route}")
    opened.set_attributes(
        {
            "http.request.method": method,
            "http.route": record.route,
            "http.response.status_code": record.status,
            "lmserve.request_id": record.request_id,
            "lmserve.texts": record.texts,
            "lmserve.words": record.words,
        }
    )
    if record.status >= 500:
        opened.set_status(StatusCode.ERROR)
