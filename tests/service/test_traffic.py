"""Bytes of requests and answers, counted by route."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from harness import Harness
from live_service import live

import lmserve
from lmserve.service.traffic import Traffic


def test_bytes_are_counted_by_route() -> None:
    harness = Harness()
    body = json.dumps({"text": "the cat"}).encode()
    answer = harness.request("POST", "/v1/score", content=body)
    missing = harness.request("POST", "/nowhere/at/all", content=b"12345")
    count = harness.count
    assert count("lmserve_received_bytes_total", route="/v1/score") == len(body)
    assert count("lmserve_sent_bytes_total", route="/v1/score") == len(answer.content)
    # Nobody reads what is sent to no route.
    assert count("lmserve_received_bytes_total", route="other") is None
    assert count("lmserve_sent_bytes_total", route="other") == len(missing.content)


def test_a_stream_is_counted_to_the_byte() -> None:
    harness = Harness()
    lines = [b"the cat %d\n" % number for number in range(20_000)]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(lines), 100):
            yield b"".join(lines[start : start + 100])

    answer = harness.request(
        "POST", "/v1/score/stream", content=pieces(), headers={"Content-Type": "text/plain"}
    )
    route = "/v1/score/stream"
    assert answer.content.count(b"\n") == len(lines)
    assert harness.count("lmserve_received_bytes_total", route=route) == sum(map(len, lines))
    assert harness.count("lmserve_sent_bytes_total", route=route) == len(answer.content)


def test_messages_of_sessions_are_counted(tiny_model: lmserve.NgramModel) -> None:
    with live(tiny_model) as service, service.session() as session:
        message = json.dumps({"text": "größer "}, ensure_ascii=False)
        session.connection.send(message)
        answers = [session.connection.recv(timeout=30, decode=False) for _ in range(2)]
        session.connection.close()
        count = service.service.metrics.registry.get_sample_value
        labels = {"route": "/v1/stream"}
        deadline_s = time.monotonic() + 30
        # The session ends a moment after its client has left.
        while count("lmserve_requests_total", labels | {"status": "101"}) is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert count("lmserve_received_bytes_total", labels) == len(message.encode())
        assert count("lmserve_sent_bytes_total", labels) == sum(map(len, answers))


def test_long_streams_are_told_as_they_go() -> None:
    """What is counted is seen while a stream lasts, and not with every message of it."""
    harness = Harness()
    told: list[Any] = []
    traffic = Traffic({"type": "http"}, harness.metrics)

    async def receive() -> dict[str, Any]:
        told.append(harness.count("lmserve_received_bytes_total", route="other"))
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def use(_: Any) -> None:
        counted = traffic.receiving(receive)
        for _number in range(800):
            await counted()

    harness.run(use)
    assert told[-1] >= 400_000
    assert len(set(told)) < 5
    traffic.tell()
    assert harness.count("lmserve_received_bytes_total", route="other") == 800_000
