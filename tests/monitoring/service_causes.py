"""What makes alerts about requests, stores, models and texts fire."""

import itertools
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
from corpora import zipf_text
from redis_server import running_redis
from watched_nodes import Node, Traffic

import lmserve
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish, rollback

# Text like that of `tiny_model_path`, but other.
OTHER_LINES = zipf_text(400, seed=2).splitlines()


def usual_texts() -> Callable[[], list[str]]:
    """Lines like the model's, none of them twice the same."""
    numbers = itertools.count()
    return lambda: [f"{line} w{next(numbers) % 9}" for line in random.sample(OTHER_LINES, 8)]


def foreign_texts() -> list[str]:
    """Words of the model in no order at all, and words of another language."""
    words = [f"w{number}" for number in range(2000)] + ["mots", "d'une", "autre", "langue"] * 300
    return [" ".join(random.choices(words, k=15)) for _ in range(8)]


def redis_stops_and_the_text_changes(node: Node) -> None:
    stores = ("LmserveBreakerOpen", "LmserveRateLimiterFailing")
    with (
        running_redis() as redis,
        node.replica(node.model, redis.url, LMSERVE_CLIENT_REQUESTS_PER_S="1000000") as url,
        Traffic(url, usual_texts()) as traffic,
    ):
        node.sees(f'rate(lmserve_cache_misses_total{{cluster="{node.cluster}"}}[5s]) > 0')
        redis.stop()
        node.fire(*stores)
        assert node.firing() == set(stores)
        redis.go_on()
        node.end(*stores)
        traffic.next_text = foreign_texts
        node.fire("LmservePerplexityRise", "LmserveUnknownWords")
        traffic.next_text = usual_texts()
        node.end("LmservePerplexityRise", "LmserveUnknownWords")


def text_is_foreign_and_a_version_is_broken(node: Node) -> None:
    heldout = perplexity(node.model, OTHER_LINES)
    directory = ModelDirectory.at(node.work / "models")
    publish(node.model, directory, name="m", version="1", heldout_perplexity=heldout)
    drift = ("LmservePerplexityDrift", "LmserveUnknownWords")
    with node.replica(node.work / "models") as url, Traffic(url, usual_texts()) as traffic:
        publish(node.model, directory, name="m", version="2", heldout_perplexity=heldout)
        node.sees(f'lmserve_model_info{{cluster="{node.cluster}",version="2"}}')
        broken = node.work / "models" / "m" / "1"
        broken.rename(node.work / "elsewhere")
        shutil.copytree(node.work / "elsewhere", broken)
        (broken / "manifest.json").write_text("{}")
        rollback(directory, "m")
        traffic.next_text = foreign_texts
        node.fire("LmserveModelLoadFailing")
        shutil.rmtree(broken)
        (node.work / "elsewhere").rename(broken)
        node.sees(f'lmserve_model_info{{cluster="{node.cluster}",version="1"}}')
        node.end("LmserveModelLoadFailing")
        node.fire(*drift)
        assert node.firing() == set(drift)
        traffic.next_text = usual_texts()
        node.end(*drift)


def perplexity(model: Path, lines: list[str]) -> float:
    scores = lmserve.load(model).score_texts([line.encode() for line in lines])
    return float(10 ** (-scores.log10_prob.sum() / scores.tokens.sum()))


def a_replica_has_too_little_room(node: Node) -> None:
    limits = {"LMSERVE_MAX_CONCURRENT": "1", "LMSERVE_MAX_QUEUED": "3", "LMSERVE_MAX_QUEUE_S": "30"}
    load = ("LmserveOverloaded", "LmserveRequestsQueue")
    burns = (
        "LmserveErrorsBurnFast",
        "LmserveErrorsBurnSlowly",
        "LmserveLatencyBurnsFast",
        "LmserveLatencyBurnsSlowly",
    )
    with node.replica(node.model, **limits) as url, ExitStack() as askers:
        ended = threading.Event()
        holder = threading.Thread(target=hold_places, args=(url, ended))
        holder.start()
        askers.callback(holder.join)
        askers.callback(ended.set)
        askers.enter_context(Traffic(url, usual_texts(), clients=6))
        node.fire(*load, *burns)
        askers.close()
        with Traffic(url, usual_texts()):
            node.end(*load, *burns)


def hold_places(url: str, ended: threading.Event) -> None:
    """Opens streams that last 1.5 s, one after the other: each takes the only place for so long."""

    def lines() -> Iterator[bytes]:
        yield b"w1 w2\n"
        ended.wait(1.5)

    with httpx.Client(base_url=url, timeout=60) as client:
        while not ended.is_set():
            client.post("/v1/score/stream", content=lines())
