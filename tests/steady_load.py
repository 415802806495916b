"""Clients that ask a service all the time, and count what was not answered."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

CONNECTIONS = 4


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


class Load:
    """Connections that ask all the time, each request once.

    `failures` has all that was not answered with 200.
    """

    def __init__(self, url: str) -> None:
        self.digests: list[str] = []
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(CONNECTIONS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def answers(self) -> int:
        return len(self.digests)

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=60)
        with closing(connection):
            while not self._stop.wait(0.01):
                body = json.dumps({"text": f"w{number} w{len(self.digests)}"})
                try:
                    connection.request("POST", "/v1/score", body)
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status != 200:
                    self.failures.append(content.decode())
                else:
                    self.digests.append(answer.headers["x-model-digest"])
