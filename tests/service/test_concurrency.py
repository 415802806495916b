"""How many requests are worked on at a time, and what becomes of slow clients."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from harness import Harness, problem
from live_socket import HEAD, chunk, live, wait_for
from scorers import UnigramTable
from starlette.types import Message, Receive, Scope, Send

from lmserve.scorer import Text, TextScores
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.read_window import AcknowledgingMiddleware, WindowMiddleware


class Held(UnigramTable):
    """Scores when it is let."""

    def __init__(self) -> None:
        super().__init__({b"the": -1.0})
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    def score_texts(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TextScores:
        self.entered.release()
        assert self.gate.wait(60)
        return super().score_texts(texts, bos=bos, eos=eos)


def held(**settings: Any) -> tuple[Harness, Held]:
    scorer = Held()
    # Always in a thread: what waits there does not hold up the others.
    return Harness(scorer, thread_bytes=0, protection=ProtectionSettings(**settings)), scorer


async def asks(client: httpx.AsyncClient, text: str) -> httpx.Response:
    return await client.post("/v1/score", json={"text": text})


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.001)


def test_requests_beyond_the_queue_are_refused() -> None:
    harness, scorer = held(max_concurrent=1, max_queued=1, max_queue_s=60)

    async def use(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(asks(client, "1"))
        await until(lambda: scorer.entered.acquire(blocking=False))
        second = asyncio.create_task(asks(client, "2"))
        await until(lambda: harness.count("lmserve_queued_requests") == 1)
        third = await asks(client, "3")
        assert problem(third).status == 503
        assert third.headers["retry-after"] == "1"
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200
        scorer.gate.set()
        assert [(await one).status_code for one in (first, second)] == [200, 200]
        assert (await asks(client, "4")).status_code == 200

    harness.run(use)
    assert harness.count("lmserve_queued_requests") == 0
    assert harness.count("lmserve_refused_requests_total", reason="overloaded") == 1
    assert scorer.batches == [[b"1"], [b"2"], [b"4"]]


def test_requests_wait_no_longer_than_allowed() -> None:
    harness, scorer = held(max_concurrent=1, max_queued=9, max_queue_s=0.01)

    async def use(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(asks(client, "1"))
        await until(lambda: scorer.entered.acquire(blocking=False))
        assert (await asks(client, "2")).status_code == 503
        scorer.gate.set()
        assert (await first).status_code == 200

    harness.run(use)


def test_texts_have_at_most_so_many_words() -> None:
    harness = Harness(protection=ProtectionSettings(max_text_words=3))
    assert harness.score(texts=["the the  the ", "the"]).scores
    refused = harness.request("POST", "/v1/score", json={"texts": ["the", "the " * 4]})
    assert problem(refused).status == 422
    assert "more than 3 words" in problem(refused).detail
    answer = harness.request("POST", "/v1/score/stream", content=b'"the"\n"the the the a"\n"a"')
    rows = answer.text.splitlines()
    assert [("error" in row, '"line":2' in row) for row in rows] == [
        (False, False),
        (True, True),
        (False, False),
    ]


def test_pages_of_allowed_origins_may_use_the_service() -> None:
    asked = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    closed = Harness().request("OPTIONS", "/v1/score", headers=asked)
    assert "access-control-allow-origin" not in closed.headers
    harness = Harness(protection=ProtectionSettings(allowed_origins=("https://a.example",)))
    allowed = harness.request("OPTIONS", "/v1/score", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    answer = harness.request("GET", "/healthz", headers={"Origin": "https://a.example"})
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
    other = harness.request("GET", "/healthz", headers={"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers


def test_browsers_are_told_what_not_to_do() -> None:
    headers = Harness().request("GET", "/healthz").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    without = Harness(protection=ProtectionSettings(security_headers=False))
    assert "x-frame-options" not in without.request("GET", "/healthz").headers


def send_until_blocked(client: socket.socket) -> None:
    """Sends lines until nobody takes them, or 64 MB of them, which is a failure."""
    lines = chunk(b"the cat\n" * 8000)
    with pytest.raises((TimeoutError, ConnectionError)):
        client.sendall(lines * 1000)


def test_a_client_that_never_reads_is_ended() -> None:
    harness = Harness(protection=ProtectionSettings(max_stall_s=0.2))
    with live(harness.app) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.settimeout(0.2)
        client.sendall(HEAD)
        send_until_blocked(client)
        wait_for(lambda: harness.count("lmserve_stalled_clients_total") == 1)
        wait_for(lambda: harness.count("lmserve_requests_in_flight") == 0)


class Buffering:
    """Stands between edge and application as Ray Serve does: without making anyone wait."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.taken_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        outgoing: asyncio.Queue[Message | None] = asyncio.Queue()

        async def take() -> None:
            while True:
                message = await receive()
                self.taken_bytes += len(message.get("body", b""))
                incoming.put_nowait(message)
                if message["type"] == "http.disconnect":
                    return

        async def answer() -> None:
            await self._app(scope, incoming.get, outgoing.put)
            outgoing.put_nowait(None)

        taking = asyncio.create_task(take())
        answering = asyncio.create_task(answer())
        try:
            while (message := await outgoing.get()) is not None:
                await send(message)
            await answering
        finally:
            taking.cancel()
            answering.cancel()


def buffered(harness: Harness, window_bytes: int, max_stall_s: float) -> tuple[Any, Buffering]:
    buffering = Buffering(AcknowledgingMiddleware(harness.app))
    edge = WindowMiddleware(buffering, window_bytes=window_bytes, max_stall_s=max_stall_s)
    return edge, buffering


def test_behind_buffers_little_is_taken_of_a_client_that_never_reads() -> None:
    window_bytes = 200_000
    harness = Harness()
    edge, buffering = buffered(harness, window_bytes, max_stall_s=1)
    with live(edge) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.settimeout(0.5)
        client.sendall(HEAD)
        send_until_blocked(client)
        wait_for(lambda: harness.count("lmserve_requests_in_flight") == 0)
    # Answers are ten times as long as their lines: what fits the sockets, and the windows.
    assert window_bytes < buffering.taken_bytes < 20 * window_bytes


def test_behind_buffers_nothing_is_lost_and_long_bodies_pass() -> None:
    harness = Harness()
    edge, _ = buffered(harness, 50_000, max_stall_s=60)
    lines = [f"the {'cat ' * (number % 7)}" for number in range(30_000)]
    with live(edge) as port:
        url = f"http://127.0.0.1:{port}/v1/score"
        plain = {"Content-Type": "text/plain"}
        answer = httpx.post(
            f"{url}/stream", content="\n".join(lines).encode(), headers=plain, timeout=60
        )
        assert answer.content.count(b'"tokens"') == len(lines)
        # Longer than the window, and read wholly before the answer begins.
        body = {"text": "the " * 100_000}
        assert httpx.post(url, json=body, timeout=60).json()["scores"][0]["tokens"] == 100_001
