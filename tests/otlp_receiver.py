"""A receiver of OpenTelemetry's spans over HTTP."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


class OtlpReceiver:
    """What it received, and where.

    Attributes:
        url: its endpoint.
        resources: what senders said of themselves, with their spans.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.resources: list[ResourceSpans] = []

    @property
    def spans(self) -> list[Span]:
        """All."""
        resources = list(self.resources)
        return [span for one in resources for scope in one.scope_spans for span in scope.spans]


@contextmanager
def running_otlp_receiver() -> Iterator[OtlpReceiver]:
    """Receives until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.resources.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
