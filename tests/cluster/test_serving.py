"""The service as users start it: one Ray of its own, two replicas, real HTTP, real Redis."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import orjson
import pyarrow as pa
import pytest
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from redis_server import running_redis

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from lmserve.client import Client, Retry
from lmserve.errors import ServiceError
from lmserve.scorer import Scorer

PASSWORD = "hunter2"
LINES = 20_000


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metric(self, name: str, **labels: str) -> float:
        text = httpx.get(f"{self.url}/metrics").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def looked_up(self) -> float:
        return sum(self.metric(f"lmserve_cache_{end}_total") for end in ("hits", "misses"))


@pytest.fixture(scope="module")
def running(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_redis(PASSWORD) as redis:
        port = free_port()
        log = tmp_path_factory.mktemp("serving") / "log"
        command = [sys.executable, "-m", "jobs.serve", str(tiny_model_path)]
        command += ["--port", str(port), "--replicas", "2", "--redis", redis.url, "--cache", "all"]
        environment = os.environ | {"LMSERVE_REDIS_PASSWORD": PASSWORD}
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        running = Running(process, port, log)
        try:
            wait_for(lambda: b"curl" in log.read_bytes() or process.poll() is not None, 120)
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            if process.poll() is None:
                stop(running)


def wait_for(holds: Any, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def stop(running: Running) -> int:
    running.process.send_signal(signal.SIGTERM)
    try:
        return running.process.wait(60)
    except subprocess.TimeoutExpired:
        running.process.kill()
        raise


def test_the_printed_line_works(running: Running) -> None:
    [url] = re.findall(r"curl (\S+)", running.log.read_text())
    answer = httpx.post(url, json={"text": "the cat sat on the mat"})
    assert answer.status_code == 200
    assert answer.json()["scores"][0]["tokens"] == 7


def test_health_names_the_model(running: Running, tiny_model: Scorer) -> None:
    answer = httpx.get(f"{running.url}/healthz")
    assert answer.json() == {"status": "ok", "model": tiny_model.digest}


def test_scores_are_those_of_the_model(running: Running, tiny_model: Scorer) -> None:
    texts = ["the cat sat", "", "an unheard-of word"]
    answer = httpx.post(f"{running.url}/v1/score", json={"texts": texts, "words": True})
    scores = answer.json()["scores"]
    expected = tiny_model.score_texts(texts)
    assert [score["log10_prob"] for score in scores] == expected.log10_prob.tolist()
    assert [score["tokens"] for score in scores] == expected.tokens.tolist()
    assert [score["words"][-1]["word"] for score in scores] == ["</s>"] * 3


def test_errors_are_problems_with_one_identifier(running: Running) -> None:
    answer = httpx.post(
        f"{running.url}/v1/score", content=b"{", headers={"X-Request-ID": "my-request"}
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "my-request"


def read_chunk(reader: BinaryIO) -> bytes:
    chunk = reader.read(int(reader.readline(), 16))
    assert reader.readline() == b"\r\n"
    return chunk


def test_each_line_is_answered_before_the_next_is_sent(running: Running) -> None:
    head = (
        "POST /v1/score/stream HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/x-ndjson\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection,
        connection.makefile("rb") as reader,
    ):
        connection.sendall(head.encode())
        for number in range(10):
            line = orjson.dumps({"text": "the " * number}) + b"\n"
            connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            if number == 0:
                assert b" 200 " in reader.readline()
                while reader.readline() != b"\r\n":
                    pass
            assert orjson.loads(read_chunk(reader))["tokens"] == number + 1
        connection.sendall(b"0\r\n\r\n")
        assert read_chunk(reader) == b""


def test_a_long_stream_loses_no_line(running: Running) -> None:
    lines = [f"the cat {number} {'sat ' * (number % 5)}" for number in range(LINES)]
    body = "\n".join(lines).encode()

    def stream() -> list[int]:
        answer = httpx.post(
            f"{running.url}/v1/score/stream",
            content=(body[at : at + 10_007] for at in range(0, len(body), 10_007)),
            headers={"Content-Type": "text/plain"},
            timeout=60,
        )
        assert answer.status_code == 200
        return [orjson.loads(line)["tokens"] for line in answer.content.splitlines()]

    expected = [4 + number % 5 for number in range(LINES)]
    before = running.metric("lmserve_sentences_total")
    assert stream() == expected
    assert running.metric("lmserve_sentences_total") - before == LINES


def test_what_was_scored_before_comes_from_the_cache(running: Running) -> None:
    texts = [f"the cat {number}" for number in range(100)]
    first = httpx.post(f"{running.url}/v1/score", json={"texts": texts}).content

    def comes_from_the_cache() -> bool:
        hits = running.metric("lmserve_cache_hits_total")
        assert httpx.post(f"{running.url}/v1/score", json={"texts": texts}).content == first
        return running.metric("lmserve_cache_hits_total") - hits == len(texts)

    # While the machine is busy, the model may be sooner ready than Redis, and does the scoring.
    wait_for(comes_from_the_cache, 60)


def test_arrow_batches_are_answered_through_the_proxy(running: Running, tiny_model: Scorer) -> None:
    texts = [f"the cat {number} {'sat ' * (number % 5)}" for number in range(LINES)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])) as writer:
        for start in range(0, LINES, 1000):
            writer.write_batch(pa.record_batch({"text": texts[start : start + 1000]}))
    answer = httpx.post(
        f"{running.url}/v1/score/stream",
        content=zstd.compress(sink.getvalue()),
        headers={
            "Content-Type": "application/vnd.apache.arrow.stream",
            "Content-Encoding": "zstd",
        },
        timeout=60,
    )
    got = pa.ipc.open_stream(answer.content).read_all()
    assert got["log10_prob"].to_pylist() == tiny_model.score_texts(texts).log10_prob.tolist()


def test_the_metrics_of_both_replicas_agree_with_what_was_sent(running: Running) -> None:
    before = running.metric("lmserve_requests_total", route="/v1/score", status="200")
    sentences, looked_up = running.metric("lmserve_sentences_total"), running.looked_up()
    for number in range(20):
        httpx.post(f"{running.url}/v1/score", json={"text": f"number {number}"})
    after = running.metric("lmserve_requests_total", route="/v1/score", status="200")
    assert after - before == 20
    assert running.metric("lmserve_requests_in_flight") == 1
    assert running.metric("lmserve_cache_errors_total") == 0
    assert running.metric("lmserve_sentences_total") - sentences == 20
    assert running.looked_up() - looked_up == 20


def test_a_client_that_leaves_is_counted(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/score/stream HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: text/plain\r\n\r\n4\r\nthe\n\r\n"
        )
        assert b" 200 " in connection.recv(1000)
    wait_for(lambda: running.metric("lmserve_disconnects_total") == 1, 20)
    assert running.metric("lmserve_requests_in_flight") == 1


def test_the_client_streams_and_scores(running: Running, tiny_model: Scorer) -> None:
    texts = [f"w{i % 40} w{i % 7}\nw0" for i in range(3000)]
    expected = tiny_model.score_texts(texts).rows()
    with Client(running.url) as client:
        answers = list(client.score_stream(iter(texts)))
        assert [(a["log10_prob"], a["tokens"], a["oov"]) for a in answers] == expected
        scored = client.score(texts[:3], words=True)
        assert [answer["log10_prob"] for answer in scored] == [row[0] for row in expected[:3]]
        assert [word["word"] for word in scored[0]["words"]] == ["w0", "w0", "w0", "</s>"]
        assert "lmserve_sentences_total" in client.metrics()


def test_the_client_takes_answers_into_account(running: Running) -> None:
    answers: list[float] = []
    answered = threading.Semaphore(0)

    def texts() -> Iterator[str]:
        for i in range(10):
            yield f"w{i}"
            answered.acquire()

    with Client(running.url) as client:
        for answer in client.score_stream(texts(), batch=1):
            answers.append(answer["log10_prob"])
            answered.release()
    assert len(answers) == 10


def test_the_client_passes_on_what_goes_wrong(running: Running) -> None:
    def texts() -> Iterator[str]:
        yield "w0"
        raise KeyError("the caller's own")

    with Client(running.url) as client:
        with pytest.raises(KeyError, match="the caller's own"):
            list(client.score_stream(texts()))
        with pytest.raises(ServiceError, match="answered 422"):
            client.score([1])  # type: ignore[list-item]
    with (
        Client(f"http://127.0.0.1:{free_port()}", retry=Retry(attempts=1)) as client,
        pytest.raises(ServiceError, match="does not answer"),
    ):
        client.score(["w0"])


def test_it_stops_when_told_to(running: Running) -> None:
    assert stop(running) == 0
    assert PASSWORD not in running.log.read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/healthz")
