"""The routes over ASGI: what they refuse, and what goes wrong."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
from harness import Harness, problem, scope
from scorers import UnigramTable

from lmserve.errors import OptionError
from lmserve.scorer import Text, TextScores
from lmserve.service.schemas import MAX_TEXTS
from lmserve.service.settings import ServiceSettings


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b'{"text": "\xff"}', 400, "JSON"),
        (b'{"text": "\\ud800"}', 400, "JSON"),
        (b"[" * 100_000, 400, "JSON"),
        (b"[]", 422, "object"),
        (b"{}", 422, "either"),
        (b'{"text": "a", "texts": []}', 422, "either"),
        (b'{"text": 7}', 422, "text"),
        (b'{"texts": "a"}', 422, "texts"),
        (b'{"texts": ["a", null]}', 422, "texts.1"),
        (b'{"text": "a", "words": "yes"}', 422, "words"),
        (b'{"text": "a", "tokenise": true}', 422, "tokenise"),
    ],
)
def test_bad_bodies_are_the_clients_problem(body: bytes, status: int, says: str) -> None:
    response = Harness().request("POST", "/v1/score", content=body)
    assert response.status_code == status
    assert says in problem(response).detail


def test_too_many_texts_belong_on_the_stream() -> None:
    response = Harness().request("POST", "/v1/score", json={"texts": [""] * (MAX_TEXTS + 1)})
    assert response.status_code == 422


@pytest.mark.parametrize("announced", [True, False])
def test_a_long_body_is_refused(announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 10

    harness = Harness(max_body_bytes=100)
    fits = b'{"text": "%s"}' % (b"x" * 88)
    assert harness.request("POST", "/v1/score", content=fits).status_code == 200
    body = fits + b" " if announced else pieces()
    response = harness.request("POST", "/v1/score", content=body)
    assert problem(response).status == 413


def test_words_make_long_answers_of_short_bodies_only() -> None:
    harness = Harness(max_words_bytes=100)
    text = "x" * (100 - len('{"text":"","words":true}'))
    body = b'{"text":"%s","words":true}'
    fits = harness.request("POST", "/v1/score", content=body % text.encode())
    assert fits.status_code == 200
    response = harness.request("POST", "/v1/score", content=body % text.encode() + b" ")
    assert response.status_code == 413
    assert "100 bytes with words; send fewer texts" in problem(response).detail
    assert harness.score(text="x" * 100).scores


def test_a_client_that_sends_nothing_more_is_not_waited_for() -> None:
    """The body is refused, and the stream gets a last answer in the place of the next line."""
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(), "more_body": True}
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    harness = Harness(max_idle_s=0.05)
    pieces = [b'{"text"']
    asyncio.run(harness.app(scope("/v1/score"), receive, send))  # type: ignore[arg-type]
    assert messages[0]["status"] == 408
    assert (b"connection", b"close") in messages[0]["headers"]
    messages.clear()
    pieces = [b'"the"\n"cat"\n"do']
    asyncio.run(harness.app(scope("/v1/score/stream"), receive, send))  # type: ignore[arg-type]
    *_, last = b"".join(message.get("body", b"") for message in messages).splitlines()
    assert orjson.loads(last)["line"] == 3
    assert orjson.loads(last)["error"]["status"] == 408
    assert not messages[-1]["more_body"]
    assert harness.count("lmserve_idle_requests_total") == 2
    assert harness.count("lmserve_requests_in_flight") == 0
    assert harness.count("lmserve_disconnects_total") == 0


def test_unknown_paths_and_methods_are_problems_with_one_label() -> None:
    harness = Harness()
    for path in ("/a", "/b", "/v1/score/"):
        assert problem(harness.request("POST", path)).status == 404
    response = harness.request("GET", "/v1/score")
    assert problem(response).status == 405
    assert response.headers["allow"] == "POST"
    assert harness.count("lmserve_requests_total", route="other", status="404") == 3
    assert harness.count("lmserve_requests_total", route="/v1/score", status="405") == 1


@pytest.mark.parametrize("given", ["abc-123", "a.b:c/d=e+f_"])
def test_a_request_keeps_its_identifier(given: str) -> None:
    response = Harness().request("GET", "/healthz", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "<script>"])
def test_a_request_gets_an_identifier(given: str) -> None:
    response = Harness().request("GET", "/healthz", headers={"X-Request-ID": given})
    assert len(response.headers["x-request-id"]) == 32


def test_unexpected_errors_are_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(UnigramTable):
        def score_texts(
            self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
        ) -> TextScores:
            del texts, bos, eos
            raise RuntimeError("secret")

    harness = Harness(Broken({}))
    response = harness.request("POST", "/v1/score", json={"text": "a"})
    assert problem(response).status == 500
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in caplog.text
    # After the answer's head, only a broken connection says that something went wrong.
    with pytest.raises(RuntimeError, match="secret"):
        harness.request("POST", "/v1/score/stream", content=b'"a"\n')


def test_streams_of_other_types_and_options_are_refused() -> None:
    harness = Harness()
    response = harness.request(
        "POST", "/v1/score/stream", content=b"", headers={"Content-Type": "image/png"}
    )
    assert problem(response).status == 415
    response = harness.request("POST", "/v1/score/stream?words=perhaps", content=b"")
    assert "words" in problem(response).detail


@pytest.mark.parametrize(("path", "status"), [("/v1/score", "499"), ("/v1/score/stream", "200")])
def test_a_client_that_leaves_is_counted_and_nothing_else(
    path: str, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    messages = iter([{"type": "http.request", "body": b'{"te', "more_body": True}])

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        del message

    harness = Harness()
    asyncio.run(harness.app(scope(path), receive, send))  # type: ignore[arg-type]
    assert harness.count("lmserve_disconnects_total") == 1
    assert harness.count("lmserve_requests_total", route=path, status=status) == 1
    assert harness.count("lmserve_requests_in_flight") == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "limit", ["max_body_bytes", "max_line_bytes", "max_words_bytes", "max_idle_s"]
)
def test_limits_make_sense(limit: str) -> None:
    with pytest.raises(OptionError, match=limit):
        ServiceSettings(**{limit: 0})
    with pytest.raises(OptionError, match="thread_bytes"):
        ServiceSettings(thread_bytes=-1)
