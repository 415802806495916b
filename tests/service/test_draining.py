"""How a replica ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import WebSocket
from harness import Harness, problem, scope
from live_socket import HEAD, chunk
from starlette.websockets import WebSocketDisconnect

from lmserve.service import draining
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.shutdown import Shutdown

PROGRAM = Path(__file__).parent / "draining_program.py"


@contextmanager
def running(**environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Stream:
    """A stream whose answers are read while it is sent."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.sendall(HEAD)
        self._reader = self._socket.makefile("rb")

    def send(self, text: bytes) -> None:
        self._socket.sendall(chunk(text))

    def end(self) -> None:
        self._socket.sendall(b"0\r\n\r\n")

    def answers(self) -> Iterator[dict[str, Any]]:
        """Each as it comes, up to the end of the answer."""
        assert b" 200 " in self._reader.readline()
        while self._reader.readline() != b"\r\n":
            pass
        while size := int(self._reader.readline(), 16):
            yield from map(orjson.loads, self._reader.read(size).splitlines())
            self._reader.readline()
        self._reader.close()
        self._socket.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_goes_on_is_told_where_to_resume(number: signal.Signals) -> None:
    with running(LMSERVE_DRAIN_S="0.5") as (process, port):
        stream = Stream(port)
        stream.send(b"the\ncat\n")
        answers = stream.answers()
        assert [next(answers)["tokens"] for _ in range(2)] == [2, 2]
        process.send_signal(number)
        stream.send(b"the\n")
        assert next(answers)["tokens"] == 2
        [last] = answers
        assert last["line"] == 4
        assert last["error"]["status"] == 503
        assert process.wait(30) in (0, -number)


def test_a_stream_that_ends_in_time_ends_well() -> None:
    with running(LMSERVE_DRAIN_S="30") as (process, port):
        stream = Stream(port)
        stream.send(b"the\n")
        answers = stream.answers()
        assert next(answers)["tokens"] == 2
        process.terminate()
        stream.send(b"cat\n")
        stream.end()
        assert [answer["tokens"] for answer in answers] == [2]
        # It did not wait for its 30 seconds.
        assert process.wait(25) in (0, -signal.SIGTERM)


def test_a_replica_that_shuts_down_refuses_requests_and_is_not_ready() -> None:
    harness = Harness(protection=ProtectionSettings(drain_s=60))

    async def use(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200
        harness.app.state.shutdown.begin()
        ready = await client.get("/readyz")
        assert problem(ready).status == 503
        refused = await client.post("/v1/score", json={"text": "the"})
        assert problem(refused).status == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        for path in ("/healthz", "/metrics"):
            assert (await client.get(path)).status_code == 200

    harness.run(use)
    assert harness.count("lmserve_refused_requests_total", reason="draining") == 1


def test_a_server_that_stops_sending_requests_has_the_last_ones_answered() -> None:
    async def use() -> None:
        shutdown = Shutdown(60)
        asked = []

        def shutting_down() -> bool:
            asked.append(True)
            return True

        async with draining.beginning(shutdown, shutting_down):
            async with asyncio.timeout(30):
                while not shutdown.begun:
                    await asyncio.sleep(0)
            assert asked == [True]
            assert not shutdown.refuses

    asyncio.run(use())


def test_a_body_that_does_not_end_in_time_is_refused_even_where_it_never_pauses() -> None:
    """The client is as fast as the replica: nothing that is waited for could be ended."""
    harness = Harness(protection=ProtectionSettings(drain_s=0))
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"the\n", "more_body": True}

    async def send(message: Any) -> None:
        messages.append(message)
        if len(messages) == 5:
            harness.app.state.shutdown.begin(refusing=False)

    async def run() -> None:
        stream = scope("/v1/score/stream") | {"headers": [(b"content-type", b"text/plain")]}
        await asyncio.wait_for(harness.app(stream, receive, send), 30)

    asyncio.run(run())
    last = orjson.loads(messages[-2]["body"])
    assert last["line"] == 5
    assert last["error"]["status"] == 503
    assert messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_websocket_is_closed_on_both_sides() -> None:
    harness = Harness(protection=ProtectionSettings(drain_s=0))
    heard: list[int] = []
    sent: list[Any] = []

    @harness.app.websocket("/v1/test")
    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        harness.app.state.shutdown.begin()
        try:
            await socket.receive_text()
        except WebSocketDisconnect as left:
            heard.append(left.code)

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        handshake = scope("/v1/test") | {"type": "websocket", "subprotocols": []}
        await asyncio.wait_for(harness.app(handshake, receive, send), 30)

    asyncio.run(run())
    assert heard == [1012]
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1012
