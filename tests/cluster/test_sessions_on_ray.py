"""A session whose replica is killed goes on at another one, with the numbers of an unbroken one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.mmap_dict import MmapedDict
from redis_server import running_redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import lmserve

WORDS = ["w0", "w1", "w2", "unheard", "w3", "w5", "w0", "w8", "w1", "w1"]


@pytest.fixture(scope="module")
def serving(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[psutil.Process, str]]:
    """The process that serves with two replicas, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("sessions") / "log"
    with running_redis() as redis:
        command = [sys.executable, "-m", "jobs.serve", str(tiny_model_path), "--port", str(port)]
        command += ["--replicas", "2", "--redis", redis.url]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            wait_for(lambda: b"curl" in log.read_bytes() or process.poll() is not None, 120)
            assert process.poll() is None, log.read_text()
            yield psutil.Process(process.pid), f"ws://127.0.0.1:{port}/v1/stream"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(90)
            finally:
                process.kill()


def wait_for(holds: Callable[[], Any], seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def open_sessions(process: psutil.Process) -> dict[int, float]:
    """How many sessions each replica has, by its process identifier, as it tells Prometheus."""
    found = {}
    folder = Path(os.environ["LMSERVE_METRICS_DIR"])
    for child in process.children(recursive=True):
        for file in folder.glob(f"gauge_livesum_{child.pid}-*.db"):
            values = MmapedDict.read_all_values_from_file(str(file))
            found[child.pid] = sum(
                value for key, value, *_ in values if json.loads(key)[0] == "lmserve_sessions"
            )
    return found


@contextmanager
def session(url: str, **query: str) -> Iterator[ClientConnection]:
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    with connect(f"{url}?{parameters}", open_timeout=30) as connection:
        yield connection


def told(connection: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(connection.recv(timeout=30))
    assert "error" not in answer, answer
    return answer


def read(connection: ClientConnection, words: list[str]) -> list[dict[str, Any]]:
    for word in words:
        connection.send(json.dumps({"text": f"{word} "}))
    connection.send(json.dumps({"end": True}))
    return [told(connection) for _ in range(len(words) + 1)]


def without_state(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: answer[name] for name in answer if name != "state"} for answer in answers]


def test_a_session_survives_its_replica(
    serving: tuple[psutil.Process, str], tiny_model: lmserve.NgramModel
) -> None:
    process, url = serving
    with session(url) as connection:
        told(connection)
        unbroken = read(connection, WORDS)
    wait_for(lambda: sum(open_sessions(process).values()) == 0, 30)

    answers = []
    with session(url) as connection:
        told(connection)
        connection.send(json.dumps({"words": WORDS[:4]}))
        answers += [told(connection) for _ in range(4)]
        counts = open_sessions(process)
        assert sorted(counts.values()) == [0, 1]
        [holder] = [pid for pid, sessions in counts.items() if sessions]
        os.kill(holder, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=60)

    with session(url, state=answers[-1]["state"]) as connection:
        ready = told(connection)["ready"]
        assert ready["words"] == 4
        assert ready["digest"] == tiny_model.digest
        answers += read(connection, WORDS[4:])
        assert holder not in open_sessions(process)
    assert without_state(answers) == without_state(unbroken)
    assert answers[-1]["total_log10_prob"] == pytest.approx(tiny_model.score(" ".join(WORDS)))


def test_the_close_code_comes_through(serving: tuple[psutil.Process, str]) -> None:
    _, url = serving
    with session(url, state="A" * 22) as connection:
        error = json.loads(connection.recv(timeout=30))["error"]
        assert error["status"] == 404
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4404
