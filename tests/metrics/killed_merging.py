"""Counts in processes that die, and kills whoever puts their counts together, at every step of it.

Run as `killed_merging.py SEED`, with PROMETHEUS_MULTIPROC_DIR set; says what was told and
what was counted after each kill, a JSON list a line.
"""

import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lmserve.metrics import families, reading, retiring, service_metrics
from lmserve.metrics.sharing import shared_folder

ROUTES = ("/v1/score", "/v1/next", "/métrics")


def told(folder: Path) -> dict[str, float]:
    metrics = reading.Collected(reading.read_all(folder))
    text = generate_latest(reading.registry_of(metrics)).decode()
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket") or sample.labels["le"] == "+Inf"
    }


def in_child(work: Callable[[], object]) -> int:
    """How a child that does some work, and then dies of SIGKILL, ends: its exit status."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def counting(amounts: dict[str, list[int]]) -> Callable[[], None]:
    def count() -> None:
        registry = CollectorRegistry()
        requests = families.counter(service_metrics.REQUESTS, registry)
        duration = families.histogram(service_metrics.REQUEST_DURATION, registry)
        families.gauge(service_metrics.REQUESTS_IN_FLIGHT, registry).inc()
        for route, numbers in amounts.items():
            for number in numbers:
                requests.labels(route, "200").inc(number)
                duration.labels(route).observe(number)
        os.kill(os.getpid(), signal.SIGKILL)

    return count


def killed_at(step: int, work: Callable[[], object]) -> Callable[[], object]:
    """Work whose process is killed just before it does the n-th thing that the system sees."""
    left = step

    def hook(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event.startswith(("open", "os.", "shutil.", "fcntl.", "mmap.")) and event != "os.kill":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def killed() -> None:
        sys.addaudithook(hook)
        work()

    return killed


def die_counting(chance: random.Random, counted: Counter[str]) -> None:
    """Has a process count something, and die."""
    amounts = {
        route: [chance.randrange(100) for _ in range(chance.randrange(4))]
        for route in chance.sample(ROUTES, chance.randrange(1, 4))
    }
    assert in_child(counting(amounts)) == signal.SIGKILL
    for route, numbers in amounts.items():
        counted[f"lmserve_requests_total[('route', '{route}'), ('status', '200')]"] += sum(numbers)
        name, labels = "lmserve_request_duration_seconds", f"[('route', '{route}')]"
        counted[f"{name}_sum{labels}"] += sum(numbers)
        counted[f"{name}_count{labels}"] += len(numbers)


def main() -> None:
    chance = random.Random(int(sys.argv[1]))
    folder = shared_folder()
    assert folder is not None
    counted: Counter[str] = Counter()
    ended, step = signal.SIGKILL, 0
    while ended:
        # Two dead at most wait for it, so that at some step all is done.
        if chance.random() < 0.5:
            assert not in_child(lambda: retiring.retire_the_dead(folder))
            for _ in range(chance.randrange(1, 3)):
                die_counting(chance, counted)
        ended = in_child(killed_at(step, lambda: retiring.retire_the_dead(folder)))
        found = told(folder)
        line = json.dumps([{name: found.get(name, 0) for name in counted}, counted])
        sys.stdout.write(f"{line}\n")
        assert "lmserve_requests_in_flight[]" not in found
        step += 1


if __name__ == "__main__":
    main()
