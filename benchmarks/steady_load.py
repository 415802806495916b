"""A steady load of small requests, every one of which is remembered."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from urllib.parse import urlsplit

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when it began, how long it took, what came of it.

    Attributes:
        at_s: monotonic.
        seconds: until the whole answer was there.
        digest: of the model that answered; empty where the request failed.
        problem: why it failed; empty where it didn't.
    """

    at_s: float
    seconds: float
    digest: str
    problem: str

    @property
    def ended_s(self) -> float:
        """When it was answered, or failed; monotonic."""
        return self.at_s + self.seconds


class SteadyLoad:
    """Connections that each send one request after the other, while a `with` block runs.

    A connection that broke is a failed request; nothing is tried again.

    Args:
        url: of the service.
        connections: how many.
        pause_s: between an answer and the next request.

    Attributes:
        requests: in the order in which they were answered.
    """

    def __init__(self, url: str, connections: int, pause_s: float) -> None:
        self.requests: list[Request] = []
        self._address = urlsplit(url).netloc
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(connections)
        ]

    def __enter__(self) -> "SteadyLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        count = 0
        while not self._stop.wait(self._pause_s):
            count += 1
            # Never the same text twice: the cache shall not answer.
            body = json.dumps({"text": f"the cat sat on mat {number} {count}"})
            started_s = time.monotonic()
            digest = problem = ""
            try:
                connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read()
                if response.status == http.HTTPStatus.OK:
                    digest = json.loads(content)["model"]
                else:
                    problem = f"status {response.status}"
            except (OSError, http.client.HTTPException) as error:
                problem = type(error).__name__
                connection.close()
            seconds = time.monotonic() - started_s
            self.requests.append(Request(started_s, seconds, digest, problem))
        connection.close()


def describe(requests: Sequence[Request]) -> str:
    """Requests, failed ones, longest stall, p50 and p99, as cells of a Markdown table."""
    failed = sum(bool(request.problem) for request in requests)
    times_ms = [1000 * request.seconds for request in requests]
    percentiles = quantiles(times_ms, n=100)
    return (
        f"{len(requests):,} | {failed} | {max(times_ms):,.0f} ms "
        f"| {percentiles[49]:.1f} ms | {percentiles[98]:.1f} ms"
    )
