"""A load generator: connections that each send the next request when the last one is answered.

    python -m benchmarks.http_load URL TEXTS --connections 32 --seconds 10

Sends `{"text": LINE}` for the lines of TEXTS, over and over. Prints JSON: requests a second, their
latencies in milliseconds, and the processor time that this program took itself, so that one sees
whether it was the bottleneck. It is as bare as can be: HTTP/1.1 by hand on asyncio's protocols.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
import typer
import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, requests: Iterator[bytes], seconds: list[float]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._received = bytearray()
        self._sent_s = 0.0
        self._transport: Any = None
        self.failed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Sends the next request as soon as the answer is complete."""
        self._received += data
        if not _complete(self._received):
            return
        if not self._received.startswith(b"HTTP/1.1 200"):
            self._fail(bytes(self._received[:300]).decode())
            return
        self._seconds.append(time.perf_counter() - self._sent_s)
        self._received.clear()
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever hangs up has failed."""
        self._fail(f"the connection was closed: {error}")

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(next(self._requests))

    def _fail(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(reason))


def _complete(received: bytearray) -> bool:
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    head = bytes(received[:head_end]).lower()
    at = head.find(b"content-length:")
    if at < 0:
        return received.endswith(b"0\r\n\r\n")
    length = int(head[at + 15 :].partition(b"\r\n")[0])
    return len(received) >= head_end + 4 + length


async def _load(url: str, texts: list[str], connections: int, seconds: float) -> list[float]:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: "
    bodies = [orjson.dumps({"text": text}) for text in texts]
    requests = itertools.cycle([b"%b%d\r\n\r\n%b" % (head.encode(), len(b), b) for b in bodies])
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        place = (parts.hostname, parts.port)
        _, client = await loop.create_connection(lambda: Connection(requests, latencies), *place)
        clients.append(client)
    await asyncio.wait(
        [client.failed for client in clients], timeout=seconds, return_when="FIRST_EXCEPTION"
    )
    for client in clients:
        if client.failed.done():
            client.failed.result()
        client.failed.cancel()
    return latencies


def _warm_up(url: str, texts: list[str], connections: int) -> list[float]:
    """A second of load; a proxy that has just started may close its first connections."""
    for _ in range(10):
        with suppress(RuntimeError):
            return uvloop.run(_load(url, texts, connections, 1.0))
        time.sleep(1)
    raise SystemExit(f"{url} does not keep its connections")


def main(
    url: Annotated[str, typer.Argument(help="Where to POST.")],
    texts: Annotated[Path, typer.Argument(help="One text a line.")],
    connections: Annotated[int, typer.Option(help="At once.")] = 32,
    seconds: Annotated[float, typer.Option(help="How long, after a second of warming up.")] = 10.0,
) -> None:
    """Measure requests a second and print them as JSON."""
    lines = texts.read_text(encoding="utf-8", errors="replace").splitlines()[:20_000]
    warmed = _warm_up(url, lines, connections)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    latencies = sorted(uvloop.run(_load(url, lines, connections, seconds)))
    wall_s = time.perf_counter() - started_s
    result = {
        "requests": len(latencies) + len(warmed),
        "requests_per_s": len(latencies) / wall_s,
        "p50_ms": 1e3 * latencies[len(latencies) // 2],
        "p99_ms": 1e3 * latencies[len(latencies) * 99 // 100],
        "generator_cpu_share": (time.process_time() - cpu_s) / wall_s,
    }
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    typer.run(main)
