"""Cutting bytes into lines, and answering them while they come."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scorers import UnigramTable, table

from lmserve.service.cache import LruCache
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer, ScoreOptions
from lmserve.service.stream import LineAnswers, LineSplitter, read_json, read_plain

LIMIT = 5
bodies = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\x00", b"0123456789"])).map(
    b"".join
)


def split(pieces: Iterable[bytes], limit: int = LIMIT) -> list[bytes | None]:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.finish()


def whole(body: bytes) -> list[bytes | None]:
    """The slow, plain reference."""
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [line if len(line) <= LIMIT else None for line in lines]


@given(bodies, st.lists(st.integers(0, 60)))
def test_any_cut_of_a_body_gives_the_same_lines(body: bytes, cuts: list[int]) -> None:
    ends = [*sorted(cuts), len(body)]
    pieces = [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert b"".join(pieces) == body
    assert split(pieces) == whole(body)
    assert split(body[i : i + 1] for i in range(len(body))) == whole(body)


def test_a_line_is_given_as_soon_as_it_ends() -> None:
    splitter = LineSplitter(LIMIT)
    assert splitter.feed(b"ab") == []
    assert splitter.feed(b"c\nd") == [b"abc"]
    assert splitter.finish() == [b"d"]
    assert splitter.finish() == []


def test_the_limit_does_not_count_the_line_break() -> None:
    assert split([b"12345\n123456\n1234\n"]) == [b"12345", None, b"1234"]
    assert split([b"12345"]) == [b"12345"]
    assert split([b"123", b"456"]) == [None]


def test_an_endless_line_is_not_held() -> None:
    splitter = LineSplitter(1000)
    for _ in range(1000):
        splitter.feed(b"x" * 999)
        assert len(splitter._held) <= 1000
    assert splitter.feed(b"\nshort\n") == [None, b"short"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"text": "the cat"}', b"the cat"),
        (b'{"id": 7, "text": ""}\r', b""),
        (b'"the cat"', b"the cat"),
        (b'"\\u00fc"', "ü".encode()),
    ],
)
def test_json_lines(line: bytes, text: bytes) -> None:
    assert read_json(line) == text


@pytest.mark.parametrize(
    "line",
    [b"", b" ", b"{", b"7", b"null", b"[]", b"{}", b'{"text": 7}', b'"\xff"', b'"\\ud800"'],
)
def test_lines_that_are_no_text(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid JSON"):
        read_json(line)


def answers(scorer: UnigramTable, *, plain: bool = False, words: bool = False) -> LineAnswers:
    metrics = ServiceMetrics()
    return LineAnswers(
        scorer=CachedScorer(scorer, cache=LruCache(), metrics=metrics, thread_bytes=10**9),
        metrics=metrics,
        read=read_plain if plain else read_json,
        max_line_bytes=100,
        options=ScoreOptions(words=words),
    )


def run(answers: LineAnswers, pieces: list[bytes]) -> list[list[dict[str, Any]]]:
    """The answers to each piece that has any."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def collect() -> list[bytes]:
        return [written async for written in answers.stream(body())]

    written = asyncio.run(collect())
    assert all(piece.endswith(b"\n") for piece in written)
    return [[orjson.loads(line) for line in piece.splitlines()] for piece in written]


def test_the_lines_of_a_piece_are_one_batch_for_the_model() -> None:
    scorer = table()
    got = run(answers(scorer), [b'"the"\n"cat"\n"th', b'e cat"\n', b'"cat'[:0], b'"dog"'])
    assert [len(batch) for batch in got] == [2, 1, 1]
    assert scorer.batches == [[b"the", b"cat"], [b"the cat"], [b"dog"]]
    assert got[1][0]["log10_prob"] == pytest.approx(-3.5)


def test_a_bad_line_is_answered_in_its_place() -> None:
    stream = answers(table())
    lines = [b'"the"', b"", b'"' + b"x" * 200 + b'"', b"{", b'"cat"']
    [batch] = run(stream, [b"\n".join(lines) + b"\n"])
    assert [answer.get("line") for answer in batch] == [None, 2, 3, 4, None]
    assert [batch[i]["error"]["status"] for i in (1, 2, 3)] == [422, 413, 422]
    assert [batch[i]["tokens"] for i in (0, 4)] == [2, 2]
    assert stream.metrics.registry.get_sample_value("lmserve_stream_line_errors_total") == 3


def test_line_numbers_go_on_from_piece_to_piece() -> None:
    got = run(answers(table()), [b"{\n{\n", b"{\n", b"{"])
    assert [answer["line"] for batch in got for answer in batch] == [1, 2, 3, 4]


def test_plain_lines_are_texts_as_they_stand() -> None:
    [batch] = run(answers(table(), plain=True), [b'the\n\n{"text"\n\xff\n'])
    assert [answer["tokens"] for answer in batch] == [2, 1, 2, 2]
    assert [answer["oov"] for answer in batch] == [0, 0, 1, 1]


def test_words_are_shown_even_when_they_are_no_utf8() -> None:
    [[answer]] = run(answers(table(), plain=True, words=True), [b"the \xff"])
    assert [word["word"] for word in answer["words"]] == ["the", "\ufffd", "</s>"]
    assert sum(word["log10_prob"] for word in answer["words"]) == answer["log10_prob"]


def test_a_large_piece_is_answered_in_parts() -> None:
    lines = [b"x" * size for size in (60, 40, 1, 100, 101, 0, 99)]
    batches = run(answers(table(), plain=True), [b"\n".join(lines) + b"\n"])
    assert [[answer.get("line") for answer in batch] for batch in batches] == [
        [None, None],
        [None],
        [None, 5, None],
        [None],
    ]


def test_no_lines_no_answers() -> None:
    assert run(answers(table()), []) == []
    assert run(answers(table()), [b"", b""]) == []


def test_big_batches_leave_the_event_loop_and_keep_their_order() -> None:
    scorer = table()
    stream = answers(scorer)
    texts = [b"the " * (i % 7) for i in range(10_000)]
    body = b"".join(b'"%s"\n' % text for text in texts)
    batches = run(stream, [body])
    assert [answer["tokens"] for batch in batches for answer in batch] == [
        i % 7 + 1 for i in range(10_000)
    ]
    assert sum(map(len, scorer.batches)) == 7
