"""A real Ray with everything lmserve does on it, watched by a real Prometheus."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from corpora import zipf_text
from ports import free_port
from programs import program
from prometheus_server import PrometheusServer
from redis_server import running_redis
from watched_traffic import traffic

from lmserve.monitoring.folder import MonitorConfig, write_folder
from lmserve.monitoring.prometheus import running
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.heldout import measured
from lmserve.publishing.publishing import publish

SCRAPE_S = 2
_LMSERVE = (sys.executable, "-m", "jobs.cli")
_NETWORK = ("embedding_size=8", "hidden_size=8", "epochs=2", "batch_size=4", "length=8")
_DEADLINE_S = 200.0


@dataclass(frozen=True)
class Watched:
    """What was watched.

    Args:
        prometheus: has all of it.
        traffic: clients' requests, while they go on.
        began_s: since 1970.
    """

    prometheus: PrometheusServer
    traffic: "Future[None]"
    began_s: float

    def course(self, expression: str, step_s: int = SCRAPE_S) -> list[dict[str, Any]]:
        """The series of an expression since the beginning, each with `metric` and `values`.

        Raises:
            Exception: what ended the traffic.
        """
        if self.traffic.done():
            self.traffic.result()
        answer = self.prometheus.ask(
            "query_range",
            query=expression,
            start=str(self.began_s),
            end=str(time.time()),
            step=str(step_s),
        )
        return list(answer["result"])


@contextmanager
def watched_cluster(folder: Path, model: Path) -> Iterator[Watched]:
    """A cluster of one node that serves a model, while another is built and a network trained.

    Both are published, and clients ask for all.

    Args:
        folder: with a short path, as Ray's sockets lie in it.
        model: the first to be served.
    """
    began_s = time.time()
    text, valid, models = folder / "text.txt", folder / "valid.txt", folder / "models"
    text.write_text(zipf_text(300))
    valid.write_text(zipf_text(50, seed=2))
    publish_words(model, models, valid)
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("RAY_AUTH_MODE", "disabled")
        node = stack.enter_context(exporter(folder))
        environment.setenv("RAY_ADDRESS", stack.enter_context(running_ray(folder)))
        url = stack.enter_context(monitored(folder, node))
        redis = stack.enter_context(running_redis())
        threads = stack.enter_context(ThreadPoolExecutor())
        network = threads.submit(train, text, valid, folder / "net")
        words = threads.submit(succeed, "build", text, "-o", folder / "words", "--workers", 1)
        service = stack.enter_context(served(folder, redis.url))
        words.result()
        # What is counted of no run in particular has a rate only when it rises again.
        counts = threads.submit(succeed, "counts", text, "-o", folder / "counts", "--workers", 1)
        publish_words(folder / "words", models, valid)
        counts.result()
        network.result()
        publish(folder / "net", ModelDirectory.at(str(models)))
        wait_until(lambda: is_served(service, "net"))
        requests = stack.enter_context(traffic(service, threads))
        yield Watched(PrometheusServer(url), requests, began_s)


@contextmanager
def started(command: tuple[object, ...], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """A program in the background, from when it is ready on."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            wait_until(lambda: is_up(process, log) and ready())
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()


@contextmanager
def exporter(folder: Path) -> Iterator[str]:
    """`lmserve metrics`; its address."""
    port = free_port()
    command = (*_LMSERVE, "metrics", "--port", port)
    with started(command, folder / "metrics.log", lambda: answers(f"http://127.0.0.1:{port}")):
        yield f"127.0.0.1:{port}"


@contextmanager
def running_ray(folder: Path) -> Iterator[str]:
    """A Ray of its own with its metrics; its address."""
    port, files = free_port(), folder / "ray"
    ray = Path(sys.executable).with_name("ray")
    command: tuple[object, ...] = (
        ray,
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=4",
    )
    command += (f"--temp-dir={files}", "--include-dashboard=true", "--disable-usage-stats")
    command += (f"--dashboard-port={free_port()}", "--object-store-memory=200000000")
    log = folder / "ray.log"
    with started(command, log, lambda: b"Ray runtime started" in log.read_bytes()):
        yield f"127.0.0.1:{port}"


def ray_targets(folder: Path) -> Path:
    """Where Ray tells the addresses of its own metrics."""
    return folder / "ray" / "prom_metrics_service_discovery.json"


@contextmanager
def monitored(folder: Path, node: str) -> Iterator[str]:
    """Prometheus as `lmserve monitor` sets it up; its URL."""
    port = free_port()
    config = MonitorConfig(
        cluster="test",
        nodes=(node,),
        ray_targets=ray_targets(folder),
        scrape_s=SCRAPE_S,
        url=f"http://127.0.0.1:{port}",
    )
    write_folder(folder / "monitor", config)
    prometheus = program("prometheus", "prometheus")
    with running(prometheus, folder / "monitor", "127.0.0.1", port):
        yield config.url


@contextmanager
def served(folder: Path, redis: str) -> Iterator[str]:
    """`lmserve serve` on what is published; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (*_LMSERVE, "serve", folder / "models", "--port", port, "--redis", redis)
    with started(command, folder / "serve.log", lambda: answers(f"{url}/readyz")):
        yield url


def publish_words(model: Path, models: Path, valid: Path) -> None:
    """Publishes a model as the current version of `words`, with its held-out perplexity."""
    perplexity = measured(model, [str(valid)])
    publish(model, ModelDirectory.at(str(models)), name="words", heldout_perplexity=perplexity)


def train(text: Path, valid: Path, output: Path) -> None:
    """Trains a network, and looks how far its gradients reach."""
    settings = [part for setting in _NETWORK for part in ("--set", setting)]
    succeed("train", text, "--valid", valid, "-o", output, "--probe-lags", 5, *settings)


def succeed(*arguments: object) -> None:
    """Runs `lmserve ARGUMENTS...`, which may take its time: workers start on a loaded machine."""
    command = [*_LMSERVE, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S)
    assert result.returncode == 0, result.stderr


def is_up(process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return True


def is_served(url: str, model: str) -> bool:
    answer = httpx.post(f"{url}/v1/score", json={"texts": ["w0"], "model": model}, timeout=30)
    return answer.is_success


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, "it does not happen"
        time.sleep(0.2)
