"""What protects the service, through a real Ray Serve: keys, back-pressure and the end; traces."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import psutil
import pytest
from otlp_receiver import OtlpReceiver, running_otlp_receiver

from lmserve.service import tracing
from lmserve.service.keys import add_key

STREAM = (
    "POST /v1/score/stream HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
    "Content-Type: text/plain\r\nAuthorization: Bearer {}\r\n\r\n"
)
MIB = 1 << 20


@dataclass(frozen=True)
class Guarded:
    process: subprocess.Popen[bytes]
    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stream(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(STREAM.format(self.key).encode())
        return connection

    def serve_bytes(self) -> int:
        """Memory of Ray Serve's proxy and replica."""
        return sum(
            process.memory_info().rss
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if any(name in process.name() for name in ("ray::ServeReplica", "ray::ProxyActor"))
        )


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with running_otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def guarded(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    key = add_key(folder / "keys", "me")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jobs.serve", str(tiny_model_path), "--port", str(port)]
    command += ["--api-keys", str(folder / "keys")]
    environment = os.environ | {
        "LMSERVE_DRAIN_S": "1",
        tracing.ENDPOINT_VARIABLE: receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        deadline_s = time.monotonic() + 240
        while b"curl" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        yield Guarded(process, port, key)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def test_keys_are_asked_for(guarded: Guarded) -> None:
    refused = httpx.post(f"{guarded.url}/v1/score", json={"text": "w0"})
    assert refused.status_code == 401
    headers = {"Authorization": f"Bearer {guarded.key}"}
    answer = httpx.post(f"{guarded.url}/v1/score", json={"text": "w0"}, headers=headers)
    assert answer.status_code == 200
    assert httpx.get(f"{guarded.url}/readyz").status_code == 200


def test_a_trace_goes_through_the_proxy_to_the_replica(
    guarded: Guarded, receiver: OtlpReceiver
) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {
        "Authorization": f"Bearer {guarded.key}",
        "traceparent": f"00-{trace}-{parent}-01",
    }
    answer = httpx.post(f"{guarded.url}/v1/score", json={"text": "w0"}, headers=headers)
    assert answer.is_success
    deadline_s = time.monotonic() + 60
    while True:
        found = {span.name: span for span in receiver.spans if span.trace_id.hex() == trace}
        if "POST /v1/score" in found:
            break
        assert time.monotonic() < deadline_s, receiver.spans
        time.sleep(0.1)
    # Ended before it, and so sent no later.
    assert found["POST /v1/score"].parent_span_id.hex() == parent
    assert found["score"].parent_span_id == found["POST /v1/score"].span_id


def test_little_is_taken_of_a_client_that_never_reads(guarded: Guarded) -> None:
    lines = b"w0 w1 w2\n" * 20_000
    piece = b"%x\r\n%s\r\n" % (len(lines), lines)
    # One that is read: kernels are compiled or loaded for it, which takes memory once.
    headers = {"Authorization": f"Bearer {guarded.key}", "Content-Type": "text/plain"}
    read = httpx.post(f"{guarded.url}/v1/score/stream", content=lines, headers=headers, timeout=60)
    assert read.content.count(b"\n") == 20_000
    before_bytes = guarded.serve_bytes()
    assert before_bytes
    with guarded.stream() as connection:
        connection.settimeout(3)
        with pytest.raises(TimeoutError):
            connection.sendall(piece * 500)
        # Of 90 MB and ten times as much of answers.
        assert guarded.serve_bytes() - before_bytes < 120 * MIB


def test_a_body_longer_than_the_window_passes(guarded: Guarded) -> None:
    answer = httpx.post(
        f"{guarded.url}/v1/score",
        json={"text": "w0 " * 3_000_000},
        headers={"Authorization": f"Bearer {guarded.key}"},
        timeout=120,
    )
    assert answer.json()["scores"][0]["tokens"] == 3_000_001


def test_at_the_end_streams_are_told_where_to_resume(guarded: Guarded) -> None:
    with guarded.stream() as connection, connection.makefile("rb") as reader:
        connection.settimeout(60)
        connection.sendall(b"3\r\nw0\n\r\n")
        while not reader.readline().startswith(b"{"):
            pass
        guarded.process.send_signal(signal.SIGTERM)
        [last] = [line for line in reader if line.startswith(b"{")]
    assert orjson.loads(last)["line"] == 2
    assert orjson.loads(last)["error"]["status"] == 503
    assert guarded.process.wait(60) == 0
