"""`lmserve top` beside real metrics, in a real terminal."""

import json
import os
import pty
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from subprocess import Popen

import pytest
from programs import output, run
from prometheus_client import CollectorRegistry, generate_latest

from jobs.top_figures import figures
from jobs.top_reading import Between, address, read
from lmserve.errors import OptionError
from lmserve.metrics import families, job_metrics, training_metrics
from lmserve.scorer import TextScore
from lmserve.service.metrics import ServiceMetrics


@contextmanager
def exported(exposition: Callable[[], bytes]) -> Iterator[str]:
    """Metrics on a port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(exposition())

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def counting(metrics: ServiceMetrics) -> None:
    """Some requests of two texts with five words."""
    for seconds in (0.02, 0.04, 0.04, 0.2):
        metrics.requests.labels("/v1/score", 200).inc()
        metrics.request_duration.labels("/v1/score").observe(seconds)
        metrics.scored([TextScore(-2.0, 2, 0), TextScore(-6.0, 3, 1)])


def jobs_exposition() -> bytes:
    registry = CollectorRegistry()

    def gauge(declared: object, value: float, *labels: str) -> None:
        families.gauge(declared, registry).labels(*labels).set(value)  # type: ignore[arg-type]

    gauge(job_metrics.RUNNING, 1, "books", "build")
    gauge(job_metrics.STAGE_PROGRESS, 0.5, "books", "count")
    gauge(job_metrics.PEAK_MEMORY, 3e8, "books", "count")
    gauge(training_metrics.STEPS, 70, "lstm", "lstm")
    gauge(training_metrics.PERPLEXITY, 99.5, "lstm", "lstm", "valid")
    gauge(training_metrics.CLIPPED, 0.25, "lstm", "lstm")
    return generate_latest(registry)


def test_figures_are_of_what_came_between_two_readings() -> None:
    metrics = ServiceMetrics()
    metrics.serves("m", "1", "ab", 86.5)
    metrics.breaker("cache").failed()
    counting(metrics)
    with exported(metrics.exposition) as url:
        place = address(url)
        before = read([place])
        counting(metrics)
        counting(metrics)
        between = Between(before, read([place]))
    found = figures(between)
    seconds = between.now.at_s - before.at_s
    service = found["service"]
    assert service["requests_per_s"] == {"200": pytest.approx(8 / seconds)}
    assert service["sentences_per_s"] == pytest.approx(16 / seconds)
    assert service["words_per_s"] == pytest.approx(40 / seconds)
    assert service["perplexity"] == pytest.approx(10 ** (8 / 5))
    assert service["oov_ratio"] == pytest.approx(1 / 5)
    # Half of them lie in (0.025, 0.05], after a quarter below and before a quarter above.
    assert service["p50_s"] == pytest.approx(0.0375)
    assert 0.1 < service["p99_s"] <= 0.25
    assert service["breakers_open"] == {"cache": 1}
    assert found["models"] == [{"name": "m", "version": "1", "heldout_perplexity": 86.5}]
    assert found["failures"] == {}


def test_a_service_that_restarted_has_no_negative_rate() -> None:
    before, after = ServiceMetrics(), ServiceMetrics()
    for _ in range(3):
        counting(before)
    counting(after)
    with exported(before.exposition) as first, exported(after.exposition) as second:
        between = Between(read([address(first)]), read([address(second)]))
    assert between.increase("lmserve_sentences_total") == 8


def test_nodes_are_added_up_and_who_is_missing_is_named() -> None:
    metrics = ServiceMetrics()
    counting(metrics)
    with (
        exported(metrics.exposition) as first,
        exported(metrics.exposition) as second,
        exported(jobs_exposition) as third,
    ):
        urls = [first, second, third, "http://127.0.0.1:9/metrics"]
        found = json.loads(output("top", *urls, "--json", "--interval", "0.1"))
        table = output("top", *urls, "--once", "--interval", "0.1")
        reading = read([address(first), address(second)])
    assert reading.total("lmserve_sentences_total") == 16
    assert list(found["failures"]) == ["http://127.0.0.1:9/metrics"]
    [job] = found["jobs"]
    assert (job["run"], job["kind"], job["stage"], job["progress"]) == (
        *("books", "build", "count"),
        0.5,
    )
    [training] = found["trainings"]
    assert training["perplexity"] == {"valid": 99.5}
    for word in ("requests/s", "books", "50%", "300 MB", "lstm", "valid 99.5", "25%", "refused"):
        assert word in table


def test_who_does_not_answer_is_named_with_what_to_do() -> None:
    result = run("top", "http://127.0.0.1:9", "--once")
    assert result.returncode == 1
    assert "nobody answers: http://127.0.0.1:9/metrics" in result.stderr
    assert "lmserve metrics --port 9465" in result.stderr


@pytest.mark.parametrize("url", ["localhost:9465", "file:///etc/passwd", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="no URL of metrics"):
        address(url)


def test_a_terminal_shows_new_figures_until_q_is_pressed() -> None:
    metrics = ServiceMetrics()
    with exported(metrics.exposition) as url:
        terminal, inner = pty.openpty()
        command = [sys.executable, "-m", "jobs.top", url, "--interval", "0.2"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        process = Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment)
        os.close(inner)
        shown = b""

        def until(wanted: Callable[[], bool]) -> None:
            nonlocal shown
            deadline_s = time.monotonic() + 60
            while not wanted():
                assert time.monotonic() < deadline_s, shown[-2000:]
                if select.select([terminal], [], [], 0.1)[0]:
                    shown += os.read(terminal, 1 << 16)

        try:
            until(lambda: b"requests/s" in shown)
            assert b"200:" not in shown
            counting(metrics)
            until(lambda: b"200:" in shown)
            os.write(terminal, b"x")
            shown = b""
            until(lambda: b"requests/s" in shown)
            assert process.poll() is None
            os.write(terminal, b"q")
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
