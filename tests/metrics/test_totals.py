"""What the service counted against what clients were answered, over kills and a restart."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from lmserve.metrics import membership

TEXTS = ["w0 w1", "w2", "unheard w3 w4"]
# Sentence ends are words, too.
WORDS = 9
TIMEOUT_S = 120


class Service:
    """`lmserve serve` with two replicas, and how many requests to score it answered."""

    def __init__(self, model: Path, log: Path, metrics: Path) -> None:
        self._model = model
        self._log = log
        self._metrics = metrics
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.answered = 0

    def start(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "jobs.serve", str(self._model), "--port", str(port)]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--replicas=2", "--cpus=0.1"], stdout=output, stderr=output
            )
        self.wait_for(lambda: b"curl" in self._log.read_bytes())
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT_S)
        finally:
            self._process.kill()

    def wait_for(self, holds: Callable[[], bool]) -> None:
        assert self._process is not None
        end_s = time.monotonic() + TIMEOUT_S
        while not holds():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end_s, self._log.read_text()
            time.sleep(0.1)

    def score(self) -> bool:
        """Whether a request was answered."""
        try:
            return httpx.post(f"{self.url}/v1/score", json={"texts": TEXTS}, timeout=30).is_success
        except httpx.HTTPError:
            return False

    def totals(self) -> tuple[float, float, float]:
        """Requests to score, sentences and words."""
        found = {"lmserve_requests": 0.0, "lmserve_sentences": 0.0, "lmserve_words": 0.0}
        told = httpx.get(f"{self.url}/metrics", timeout=30).raise_for_status().text
        for family in text_string_to_metric_families(told):
            for sample in family.samples:
                if family.name in found and sample.labels.get("route", "/v1/score") == "/v1/score":
                    found[family.name] += sample.value
        return found["lmserve_requests"], found["lmserve_sentences"], found["lmserve_words"]

    def score_many(self) -> None:
        """As many requests as reach both replicas, each answered."""
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda _: self.score(), range(40)))
        self.answered += 40

    def expected(self) -> tuple[int, int, int]:
        return self.answered, self.answered * len(TEXTS), self.answered * WORDS

    def replicas(self) -> set[int]:
        living = membership.living(self._metrics).values()
        return {process.pid for process in living if process.role == "replica"}

    def kill(self) -> None:
        """Kills a replica, and waits for one that takes its place."""
        self.wait_for(lambda: len(self.replicas()) == 2)
        before = self.replicas()
        os.kill(min(before), signal.SIGKILL)
        self.wait_for(lambda: len(self.replicas() - {min(before)}) == 2)
        # A replica that died gets no more requests once some in a row were answered.
        self.wait_for(self.tells)

    def tells(self) -> bool:
        """Whether the metrics are answered, whichever replica is asked."""
        try:
            return all(httpx.get(f"{self.url}/metrics", timeout=30).is_success for _ in range(8))
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def service(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory, metrics_folder: Path
) -> Iterator[Service]:
    service = Service(tiny_model_path, tmp_path_factory.mktemp("service") / "log", metrics_folder)
    service.start()
    yield service
    service.stop()


def test_totals_are_those_of_the_clients_over_kills_and_a_restart(service: Service) -> None:
    for _ in range(2):
        service.score_many()
        assert service.totals() == service.expected()
        service.kill()
        assert service.totals() == service.expected()
    service.stop()
    service.start()
    assert service.totals() == service.expected()
    service.score_many()
    assert service.totals() == service.expected()


def test_totals_under_load_lie_between_answered_and_sent(service: Service) -> None:
    before = service.totals()
    results: list[bool] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            results.append(service.score())

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(ask) for _ in range(3)]
        try:
            service.wait_for(lambda: sum(results) > 20)
            service.kill()
            reached = sum(results) + 20
            service.wait_for(lambda: sum(results) > reached)
        finally:
            stop.set()
        for client in clients:
            client.result()
    counted = [after - earlier for after, earlier in zip(service.totals(), before, strict=True)]
    for total, each in zip(counted, (1, len(TEXTS), WORDS), strict=True):
        assert sum(results) * each <= total <= len(results) * each
