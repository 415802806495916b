"""The log's line of each request."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from harness import Harness
from scorers import UnigramTable

from lmserve.service.keys import add_key
from lmserve.service.protection_settings import ProtectionSettings
from lmserve.service.request_log import start_log

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is afterwards as it was before."""
    lmserve = logging.getLogger("lmserve")
    before = lmserve.handlers, lmserve.level, lmserve.propagate
    yield
    lmserve.handlers, lmserve.level, lmserve.propagate = before


def lines(log: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in log.splitlines()]


def test_every_request_has_a_line(capsys: Capture, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys", "me")
    start_log("json")
    harness = Harness(protection=ProtectionSettings(api_keys_file=str(tmp_path / "keys")))
    headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "mine"}
    body = {"texts": ["the secret cat", "the"]}
    harness.request("POST", "/v1/score", json=body, headers=headers)
    harness.request("POST", "/v1/score", json=body)
    log = capsys.readouterr().err
    first, second = lines(log)
    duration_ms = first.pop("duration_ms")
    assert 0 < duration_ms < 60_000
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "message": "request",
        "request_id": "mine",
        "method": "POST",
        "route": "/v1/score",
        "status": 200,
        "texts": 2,
        "words": 6,
        "complete": True,
        "replica": f"{socket.gethostname()}:{os.getpid()}",
        "key": "me",
    }
    assert (second["status"], second["refused"]) == (401, "unauthenticated")
    assert second["route"] == "other"
    assert "secret" not in log
    assert key not in log


def test_counts_of_requests_do_not_mix(capsys: Capture) -> None:
    start_log("json")
    harness = Harness()

    async def use(client: Any) -> None:
        texts = [["the"] * number for number in (1, 2, 3)]
        await asyncio.gather(*(client.post("/v1/score", json={"texts": one}) for one in texts))

    harness.run(use)
    assert sorted((line["texts"], line["words"]) for line in lines(capsys.readouterr().err)) == [
        (1, 2),
        (2, 4),
        (3, 6),
    ]


def test_an_error_is_found_by_its_request(capsys: Capture) -> None:
    class Broken(UnigramTable):
        def score_texts(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError("it broke")

    start_log("json")
    answer = Harness(Broken({})).request("POST", "/v1/score", json={"text": "the"})
    error, request = lines(capsys.readouterr().err)
    assert answer.json()["request_id"] in error["message"]
    assert "it broke" in error["exception"]
    assert (error["level"], request["level"], request["status"]) == ("error", "error", 500)
    assert request["request_id"] == answer.json()["request_id"]


def test_addresses_are_logged_where_asked_for(capsys: Capture) -> None:
    start_log("json")
    harness = Harness(protection=ProtectionSettings(log_client_address=True))
    harness.request("GET", "/healthz")
    assert lines(capsys.readouterr().err)[0]["client"] == "127.0.0.1"


def test_a_line_for_people(capsys: Capture) -> None:
    start_log("text")
    Harness().request("GET", "/healthz")
    [line] = capsys.readouterr().err.splitlines()
    assert " INFO    request request_id=" in line
    assert " method=GET route=/healthz status=200 duration_ms=" in line


def test_without_a_format_there_is_none(capsys: Capture) -> None:
    start_log("none")
    Harness().request("GET", "/healthz")
    assert capsys.readouterr().err == ""
