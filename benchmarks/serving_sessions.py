"""Word in, answer out: how long a session's client waits, through Ray Serve's real port.

    python -m benchmarks.serving_sessions TEXT MODEL [MODEL ...] [--proxy haproxy] [--seconds 5]

Each client sends a word of the text, waits for its score, and sends the next. Models are served one
after the other with one replica, behind Ray's own proxy and behind HAProxy, with states kept in the
replica's memory and in a Redis server that is started for it (`redis-server` must be installed).
Clients run on the same machine.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import typer
from websockets.asyncio.client import connect

from benchmarks.measure import environment

_CONNECTIONS = (1, 32)
_PROXIES = ("ray", "haproxy")
_START_S = 180.0


def main(
    text: Annotated[Path, typer.Argument(help="Words to send.")],
    models: Annotated[list[Path], typer.Argument(help="Model folders.")],
    proxies: Annotated[list[str] | None, typer.Option("--proxy", help="ray, haproxy.")] = None,
    seconds: Annotated[float, typer.Option(help="How long each measurement takes.")] = 5.0,
) -> None:
    """Measure sessions and print them as Markdown."""
    with text.open(encoding="utf-8", errors="replace") as file:
        words = [word for line in islice(file, 1000) for word in line.split()]
    print(f"\n{environment()}\n")
    print("| model | proxy | states | connections | words/s | p50 ms | p99 ms | not kept |")
    print("| --- " * 8 + "|")
    for model in models:
        for proxy in proxies or _PROXIES:
            for kept, redis in (("in memory", contextlib.nullcontext()), ("Redis", redis_server())):
                with redis as redis_url, service(model, redis_url, proxy) as url:
                    for connections in _CONNECTIONS:
                        waits = asyncio.run(measure(url, words, connections, seconds))
                        row = [model.name, proxy, kept, str(connections), *told(waits, seconds)]
                        print(f"| {' | '.join(row)} |", flush=True)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a word's answer took, in seconds, and whether its state was kept."""

    seconds: float
    kept: bool


async def measure(url: str, words: Sequence[str], connections: int, seconds: float) -> list[Wait]:
    """The waits of so many clients at a time."""
    # Every client somewhere else in the text.
    parts = [words[i * len(words) // connections :] for i in range(connections)]
    # The first words show the way to the replica and are not counted.
    await asyncio.gather(*(talk(url, part, 0.5) for part in parts))
    waits = await asyncio.gather(*(talk(url, part, seconds) for part in parts))
    return [wait for one in waits for wait in one]


async def talk(url: str, words: Sequence[str], seconds: float) -> list[Wait]:
    """One client's waits."""
    waits: list[Wait] = []
    async with connect(url) as connection:
        await connection.recv()
        deadline_s = time.perf_counter() + seconds
        for word in cycle(words):
            sent_s = time.perf_counter()
            await connection.send(json.dumps({"words": [word]}))
            answer = json.loads(await connection.recv())
            now_s = time.perf_counter()
            waits.append(Wait(now_s - sent_s, answer["state"] is not None))
            if now_s > deadline_s:
                break
    return waits


def told(waits: Sequence[Wait], seconds: float) -> list[str]:
    """Words a second; median and 99th percentile in milliseconds; states that were not kept."""
    cuts = quantiles([wait.seconds for wait in waits], n=100)
    lost = sum(not wait.kept for wait in waits)
    rate = f"{len(waits) / seconds:,.0f}"
    return [rate, f"{1e3 * cuts[49]:.2f}", f"{1e3 * cuts[98]:.2f}", f"{lost:,}"]


@contextlib.contextmanager
def service(model: Path, redis_url: str | None, proxy: str) -> Iterator[str]:
    """The model being served; yields the WebSocket's URL."""
    port = free_port()
    command = [sys.executable, "-m", "jobs.serve", str(model), "--port", str(port)]
    command += ["--redis", redis_url] if redis_url else []
    command += ["--haproxy"] if proxy == "haproxy" else []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline_s = time.monotonic() + _START_S
            while b"curl" not in read(log.fileno()):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise SystemExit(f"the service did not start:\n{read(log.fileno()).decode()}")
                time.sleep(0.2)
            yield f"ws://127.0.0.1:{port}/v1/stream"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis server of its own; yields its URL."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def read(descriptor: int) -> bytes:
    """What a file holds, wherever its other users are in it."""
    return os.pread(descriptor, 1 << 20, 0)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    typer.run(main)
