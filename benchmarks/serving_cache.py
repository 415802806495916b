"""What the score cache is worth: by itself, on texts that come again, and in a Redis that stops.

    python -m benchmarks.serving_cache NGRAM_MODEL RECURRENT_MODEL TEXT

Runs a Redis server of its own (`redis-server` must be installed) and scores in this process, as a
replica does behind its routes: concurrent clients, each with one text at a time, drawn by Zipf's
law from those of TEXT.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import lmserve
from benchmarks.measure import environment
from lmserve.language_model import LanguageModel
from lmserve.service.batching import BatchLimits
from lmserve.service.cache import LruCache, ScoreCache
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.redis_cache import RedisCache
from lmserve.service.scoring import CachedScorer, ScoreOptions, model_batcher

_OPTIONS = ScoreOptions()
_THREAD_BYTES = 4096


def main(
    ngram: Annotated[Path, typer.Argument(help="Folder of an n-gram model.")],
    recurrent: Annotated[Path, typer.Argument(help="Folder of a recurrent model.")],
    text: Annotated[Path, typer.Argument(help="Sentences, one a line.")],
    clients: Annotated[int, typer.Option(help="At once.")] = 32,
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 5.0,
    exponent: Annotated[float, typer.Option(help="Of Zipf's law.")] = 1.0,
) -> None:
    """Measure the cache and print it as Markdown."""
    texts = text.read_bytes().splitlines()[:20_000]
    print(f"{environment()}; {clients} clients, {seconds:g} s each\n")
    models = {"n-gram": lmserve.load(ngram), "recurrent": lmserve.load(recurrent)}
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        asyncio.run(_main(models, texts, Path(folder), clients, seconds, exponent))


async def _main(
    models: dict[str, LanguageModel],
    texts: list[bytes],
    folder: Path,
    clients: int,
    seconds: float,
    exponent: float,
) -> None:
    async with _redis(folder) as (url, server):
        print("| texts at once | " + " | ".join(f"{name}, µs a text" for name in models), end="")
        print(" | in memory | Redis |\n" + "| --- " * 5 + "|")
        for count in (1, 32, 512):
            await _print_costs(models, texts[:count], url)
        print("\n| model | cache | texts/s | hits | p50 | p99 |\n" + "| --- " * 6 + "|")
        for name, model in models.items():
            for kind in ("none", "in memory", "Redis"):
                cache = await _cache(kind, url)
                load = Load(model, cache, texts, exponent)
                await load.run(clients, seconds)
                print(f"| {name} | {kind} | {load.row()} |", flush=True)
        print("\n| Redis | texts/s | hits | p50 | p99 |\n" + "| --- " * 5 + "|")
        load = Load(models["recurrent"], await _cache("Redis", url), texts, exponent)
        halves: list[tuple[str, Callable[[], object]]] = [
            ("works", lambda: None),
            ("is stopped (SIGSTOP) as this begins", lambda: _signal(server, "STOP")),
            ("goes on as this begins", lambda: _signal(server, "CONT")),
            ("is killed as this begins", server.kill),
        ]
        for name, change in halves:
            await load.run(clients, seconds, change)
            print(f"| {name} | {load.row()} |", flush=True)


class Load:
    """Clients that ask one text after the other.

    Args:
        model: scores them.
        cache: keeps scores, or None.
        texts: the first of them come most often.
        exponent: of Zipf's law.
    """

    def __init__(
        self,
        model: LanguageModel,
        cache: ScoreCache | None,
        texts: Sequence[bytes],
        exponent: float,
    ) -> None:
        self._metrics = ServiceMetrics()
        batcher = model_batcher(model, BatchLimits(), self._metrics) if model.costly else None
        self._scorer = CachedScorer(
            model,
            cache=cache,
            metrics=self._metrics,
            thread_bytes=_THREAD_BYTES,
            batcher=batcher,
        )
        self._texts = texts
        odds = 1.0 / np.arange(1, len(texts) + 1) ** exponent
        self._cumulated = np.cumsum(odds / odds.sum())
        self._random = np.random.default_rng(0)
        self._latencies_s: list[float] = []
        self._wall_s = 0.0
        self._hits = 0.0

    async def run(
        self, clients: int, seconds: float, change: Callable[[], object] = lambda: None
    ) -> None:
        """Asks for some seconds; what changes happens at their beginning, under load."""
        self._latencies_s = []
        hits = self._counted()
        started_s = time.perf_counter()

        async def client() -> None:
            while time.perf_counter() < started_s + seconds:
                text = self._texts[int(self._cumulated.searchsorted(self._random.random()))]
                asked_s = time.perf_counter()
                await self._scorer.answers([text], _OPTIONS)
                self._latencies_s.append(time.perf_counter() - asked_s)

        asking = [asyncio.create_task(client()) for _ in range(clients)]
        await asyncio.sleep(0.1 * seconds)
        change()
        await asyncio.gather(*asking)
        self._wall_s = time.perf_counter() - started_s
        self._hits = self._counted() - hits

    def row(self) -> str:
        """The last run, as cells of a table."""
        sorted_ms = 1e3 * np.sort(self._latencies_s)
        count = len(sorted_ms)
        return (
            f"{count / self._wall_s:,.0f} | {self._hits / count:.0%} "
            f"| {sorted_ms[count // 2]:.1f} ms | {sorted_ms[count * 99 // 100]:.1f} ms"
        )

    def _counted(self) -> float:
        return self._metrics.registry.get_sample_value("lmserve_cache_hits_total") or 0.0


async def _print_costs(models: dict[str, LanguageModel], texts: list[bytes], url: str) -> None:
    keys = [b"cost:%d" % number for number in range(len(texts))]
    cells = []
    for model in models.values():
        model.score_texts(texts)  # The first call compiles.

        async def score(model: LanguageModel = model) -> None:
            model.score_texts(texts)

        cells.append(await _seconds(score))
    for kind in ("in memory", "Redis"):
        cache = await _cache(kind, url)
        assert cache is not None
        scores = models["n-gram"].score_texts(texts).rows()
        await cache.set_many(dict(zip(keys, scores, strict=True)))

        async def look_up(cache: ScoreCache = cache) -> None:
            assert None not in await cache.get_many(keys)

        cells.append(await _seconds(look_up))
        await cache.close()
    row = " | ".join(f"{1e6 * cell / len(texts):,.1f}" for cell in cells)
    print(f"| {len(texts)} | {row} |", flush=True)


async def _seconds(call: Callable[[], Awaitable[None]]) -> float:
    """The best of some calls."""
    best_s = float("inf")
    end_s = time.perf_counter() + 1.0
    while time.perf_counter() < end_s:
        started_s = time.perf_counter()
        await call()
        best_s = min(best_s, time.perf_counter() - started_s)
    return best_s


async def _cache(kind: str, url: str) -> ScoreCache | None:
    if kind == "none":
        return None
    if kind == "in memory":
        return LruCache()
    cache = RedisCache(url)
    await cache._redis.flushall()
    return cache


@asynccontextmanager
async def _redis(folder: Path) -> AsyncIterator[tuple[str, "subprocess.Popen[bytes]"]]:
    path = folder / "socket"
    command = ["redis-server", "--port", "0", "--save", "", "--unixsocket", str(path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            await asyncio.sleep(0.05)
        yield f"unix://{path}", server
    finally:
        server.kill()
        server.wait()


def _signal(server: "subprocess.Popen[bytes]", name: str) -> None:
    subprocess.run(["kill", f"-{name}", str(server.pid)], check=True)


if __name__ == "__main__":
    typer.run(main)
