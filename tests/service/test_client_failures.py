"""Both clients with services that break, refuse, stall or are not there."""

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any, BinaryIO

import pytest
from client_kinds import AT_ONCE, KINDS, call, stream
from harness import Harness
from raw_server import (
    answer,
    answering,
    raw_server,
    read_request,
    read_texts,
    scores,
    scoring,
    streamed,
)
from relay import cutting_relay
from restartable_server import running_server

from lmserve.client.retrying import Retry, retry_after_s
from lmserve.errors import OptionError, ServiceError

BUSY = answer(b"", status="503 Service Unavailable", Retry_After="0")
BROKEN = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200",
    "no head": b"nonsense\r\n\r\n",
    "half a body": answer(scores("a"), missing_bytes=100),
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "nonsense for a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
    "busy": BUSY,
    "limited": answer(b"", status="429 Too Many Requests"),
    "a proxy": answer(b"<html>", status="502 Bad Gateway"),
    "a proxy's replica died": answer(b"Internal Server Error", status="500 Internal Server Error"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_may_pass_is_tried_again(kind: str, broken: bytes) -> None:
    good = answering(answer(scores("a")))
    with raw_server(answering(broken), answering(broken), good) as url:
        assert call(kind, url, "score", ["a"], client={"retry": AT_ONCE})[0]["tokens"] == 1
    with raw_server(answering(broken)) as url, pytest.raises(ServiceError) as caught:
        call(kind, url, "score", ["a"])
    assert caught.value.passing


WRONG = [b'{"scores": [', b'{"scores": []}', b'{"scores": [1]}', b"{}", b"[]", b"7", b"<html>"]


LINE = b'{"log10_prob":-1.0}\n'
WRONG_LINES = [b"", LINE, LINE * 3, LINE * 2 + b"{", LINE + b"[]\n", b"<html>\n" * 2, b"7\n" * 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [*WRONG, scores("a", "b")])
def test_what_is_no_answer_is_an_error_at_once(kind: str, body: bytes) -> None:
    with (
        raw_server(answering(answer(body))) as url,
        pytest.raises(ServiceError, match="broke off") as caught,
    ):
        call(kind, url, "score", ["a"], client={"retry": AT_ONCE})
    assert not caught.value.passing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found"])
def test_what_will_not_pass_is_not_tried_again(kind: str, status: str) -> None:
    with (
        raw_server(answering(answer(b"why", status=status))) as url,
        pytest.raises(ServiceError, match=f"answered {status[:3]} to the texts: why"),
    ):
        call(kind, url, "score", ["a"], client={"retry": AT_ONCE})


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_service_itself_is_not_tried_again(kind: str) -> None:
    failure = answer(
        b'{"detail": "it failed", "request_id": "77"}',
        status="500 Internal Server Error",
        Content_Type="application/problem+json",
    )
    with raw_server(answering(failure)) as url, pytest.raises(ServiceError) as caught:
        call(kind, url, "score", ["a"], client={"retry": AT_ONCE})
    assert (caught.value.status, caught.value.detail, caught.value.request_id) == (
        500,
        "it failed",
        "77",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_pause_than_the_deadline_is_not_waited_for(kind: str) -> None:
    busy = answer(b"", status="503 Service Unavailable", Retry_After="100")
    with raw_server(answering(busy)) as url, pytest.raises(ServiceError) as caught:
        call(kind, url, "score", ["a"], client={"retry": Retry(deadline_s=50.0)})
    assert caught.value.retry_after_s == 100


@pytest.mark.parametrize("kind", KINDS)
def test_the_pause_that_the_service_asks_for_is_made(kind: str) -> None:
    busy = answer(b"", status="503 Service Unavailable", Retry_After="1")
    with raw_server(answering(busy), answering(answer(scores("a")))) as url:
        started_s = time.monotonic()
        call(kind, url, "score", ["a"], client={"retry": AT_ONCE})
        assert time.monotonic() - started_s >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_ends_answers_that_trickle(kind: str) -> None:
    """No silence is longer than the time-out."""
    over = threading.Event()

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        read_request(reader)
        writer.write(answer(b"", missing_bytes=1000))
        while not over.wait(0.05):
            writer.write(b" ")

    with raw_server(handle) as url:
        started_s = time.monotonic()
        with pytest.raises(ServiceError, match="TimeoutError"):
            call(kind, url, "score", ["a"], client={"retry": Retry(deadline_s=0.5)})
        assert time.monotonic() - started_s < 5
        over.set()


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_an_error(kind: str) -> None:
    over = threading.Event()
    with raw_server(lambda *_: over.wait(10)) as url:
        with pytest.raises(ServiceError, match="ReadTimeout"):
            stream(kind, url, ["a"], client={"timeout_s": 0.1})
        over.set()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_breaks_goes_on(kind: str, broken: bytes) -> None:
    """One connection carries some blocks, and breaks at the next: exactly one answer a text."""
    texts = ["x" * number for number in range(10)]
    one = {"in_flight": 1}

    def breaks(reader: BinaryIO, writer: BinaryIO) -> None:
        for _ in range(2):
            writer.write(streamed(*read_texts(reader)))
        read_texts(reader)
        writer.write(broken)

    with raw_server(breaks, answering(broken), scoring) as url:
        answers = stream(kind, url, texts, batch=3, client=one | {"retry": AT_ONCE})
    assert [-answer["log10_prob"] for answer in answers] == list(range(10))
    with raw_server(breaks) as url:
        answers = []
        with pytest.raises(ServiceError, match=r"texts 7 to 9"):
            stream(kind, url, texts, batch=3, client=one, answers=answers)
    assert [-answer["log10_prob"] for answer in answers] == list(range(6))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_survives_a_network_that_cuts_connections(kind: str) -> None:
    texts = ["the " * number for number in range(60)]
    cuts = [*range(50, 2000, 90), None]
    with running_server(Harness().app) as server, cutting_relay(server.port, cuts) as relay:
        retry = Retry(attempts=len(cuts), first_pause_s=0.0)
        answers = stream(kind, relay.url, texts, batch=5, client={"retry": retry})
        assert relay.connections > len(cuts) // 2
    assert [answer["tokens"] for answer in answers] == list(range(1, 61))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_survives_a_restart_of_the_service(kind: str) -> None:
    with running_server(Harness().app) as server:

        def texts() -> Iterator[str]:
            for number in range(40):
                if number == 20:
                    server.stop()
                    threading.Timer(0.3, server.start).start()
                yield "the " * number

        answers = stream(kind, server.url, texts(), batch=2, client={"retry": Retry()})
    assert [answer["tokens"] for answer in answers] == list(range(1, 41))


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_text_is_an_error_after_the_answers_before_it(kind: str) -> None:
    texts = ["the cat", "the", "x" * 100, "cat", "the"]
    with running_server(Harness(max_line_bytes=50).app) as server:
        for batch in (1, 2, 256):
            answers: list[Any] = []
            with pytest.raises(ServiceError, match="answered 413 to text 3: the line") as caught:
                stream(kind, server.url, texts, batch=batch, answers=answers)
            assert caught.value.status == 413
            assert [answer["tokens"] for answer in answers] == [3, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", WRONG_LINES)
def test_lines_that_are_no_answers_are_an_error_at_once(kind: str, body: bytes) -> None:
    with (
        raw_server(answering(answer(body))) as url,
        pytest.raises(ServiceError, match="texts 1 to 2, or broke off") as caught,
    ):
        stream(kind, url, ["a", "b"], client={"retry": AT_ONCE})
    assert not caught.value.passing


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_in_place_of_answers_is_told(kind: str) -> None:
    idle = b'{"error":{"status":408,"detail":"nothing came"},"line":1}\n'
    with raw_server(answering(answer(idle)), scoring) as url:
        assert len(stream(kind, url, ["a", "b"], client={"retry": AT_ONCE})) == 2
    with (
        raw_server(answering(answer(idle))) as url,
        pytest.raises(ServiceError, match="answered 408 to texts 1 to 2: nothing came"),
    ):
        stream(kind, url, ["a", "b"])


@pytest.mark.parametrize("kind", KINDS)
def test_another_model_within_a_stream_is_an_error(kind: str) -> None:
    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        writer.write(streamed(*read_texts(reader)))
        writer.write(streamed(*read_texts(reader), model="cd"))

    answers: list[Any] = []
    with (
        raw_server(handle) as url,
        pytest.raises(ServiceError, match="changed its model from ab to cd"),
    ):
        stream(kind, url, ["a"] * 4, batch=2, client={"in_flight": 1}, answers=answers)
    assert len(answers) == 2


def test_pauses_double_up_to_a_limit_and_chance_halves_them() -> None:
    retry = Retry(first_pause_s=1.0, longest_pause_s=5.0)
    assert [retry.pause_s(n, None, 1.0) for n in (1, 2, 3, 4, 1000)] == [1, 2, 4, 5, 5]
    assert [retry.pause_s(n, None, 0.0) for n in (1, 2, 3, 4, 1000)] == [0.5, 1, 2, 2.5, 2.5]
    assert retry.pause_s(1, 30.0, 1.0) == 30


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"first_pause_s": -1.0}, {"deadline_s": 0.0}, {"longest_pause_s": -1}],
)
def test_a_policy_that_cannot_be_is_named(wrong: Any) -> None:
    with pytest.raises(OptionError):
        Retry(**wrong)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s(" 7 ") == 7
    later_s = retry_after_s(formatdate(time.time() + 60, usegmt=True))
    assert later_s is not None
    assert 50 < later_s <= 60
    assert retry_after_s(formatdate(time.time() - 60, usegmt=True)) == 0
    assert [retry_after_s(header) for header in (None, "", "soon", "-1", "1e9")] == [None] * 5
