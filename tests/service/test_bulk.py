"""Bulk answers are those of the line by line path, byte for byte."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import orjson
import pytest
from harness import Harness, scope
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from streaming import bulk, counted, line_by_line, run

import lmserve
from lmserve.scorer import TextScores
from lmserve.service.blocks import BLOCK_BYTES, BLOCK_LINES, BlockSplitter
from lmserve.service.bulk import format_scores
from lmserve.service.pipeline import gathered, in_order
from lmserve.service.scoring import ScoreOptions
from lmserve.service.stream import DuplexResponse

LIMIT = 40
LINES = [
    b'{"text": "w1 w2 w3"}',
    b'{"text": "w1\\nw2 \\u00fc \\ud83d\\ude00", "id": 7}',
    b'"w4"',
    b'{"text": ""}\r',
    b"",
    b"{",
    b"7",
    b'{"text": null}',
    b'{"txt": "w1"}',
    b'"\xff"',
    b'{"text": "' + b"x" * LIMIT + b'"}',
    b"\xff\x00 w2",
    b"x" * LIMIT,
]
bodies = st.lists(st.sampled_from(LINES), max_size=30).map(b"\n".join)


@settings(max_examples=60)
@given(bodies, st.booleans(), st.booleans(), st.booleans(), st.lists(st.integers(0, 900)))
def test_answers_and_counts_are_those_of_the_line_by_line_path(
    tiny_model: lmserve.NgramModel,
    body: bytes,
    end: bool,
    plain: bool,
    eos: bool,
    cuts: list[int],
) -> None:
    body += b"\n" * end
    ends = [*sorted(cuts), len(body)]
    pieces = [body[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]
    options = ScoreOptions(eos=eos, bos=len(body) % 2 == 0)
    ours = bulk(tiny_model, plain=plain, options=options, max_line_bytes=LIMIT)
    reference = line_by_line(tiny_model, plain=plain, options=options, max_line_bytes=LIMIT)
    assert run(ours, pieces) == run(reference, [body])
    assert counted(ours) == pytest.approx(counted(reference))


@pytest.mark.parametrize("plain", [True, False])
def test_many_lines_are_all_answered_in_order(tiny_model: lmserve.NgramModel, plain: bool) -> None:
    texts = ["w1 " * (number % 50) + "w2" for number in range(30_000)]
    lines = texts if plain else [orjson.dumps({"text": text}).decode() for text in texts]
    body = "\n".join(lines).encode()
    pieces = [body[at : at + 70_001] for at in range(0, len(body), 70_001)]
    answers = run(bulk(tiny_model, plain=plain), pieces)
    assert answers == run(line_by_line(tiny_model, plain=plain), pieces)
    assert answers.count(b"\n") == len(texts)


def test_numbers_are_written_as_orjson_writes_them() -> None:
    rows = [(-1.5, 3, 1), (-float("inf"), 2, 0), (-1e-300, 1, 0), (0.0, 0, 0), (-700.25, 2, 2)]
    rows += [(-617.0, 2, 0), (-615.9, 2, 0), (-1e16, 2**40, 5)]
    log10_prob = np.array([row[0] for row in rows])
    tokens, oov = np.array([row[1:] for row in rows]).T
    scores = TextScores(
        log10_prob=log10_prob, known_log10_prob=log10_prob, tokens=tokens.copy(), oov=oov.copy()
    )
    expected = [
        {
            "log10_prob": score.log10_prob,
            "perplexity": score.perplexity,
            "tokens": score.tokens,
            "oov": score.oov,
        }
        for score in scores.rows()
    ]
    written = format_scores(scores, scores.perplexity())
    assert written == b"".join(orjson.dumps(row) + b"\n" for row in expected)
    empty = TextScores.concatenate([])
    assert format_scores(empty, empty.perplexity()) == b""


def test_blocks_have_few_bytes_and_few_lines() -> None:
    splitter = BlockSplitter(10 * BLOCK_BYTES)
    long = b"y" * (2 * BLOCK_BYTES) + b"\n"
    body = b"\n" * (3 * BLOCK_LINES + 5) + b"x" * 99 + b"\n" + long + b"z\n" * BLOCK_BYTES
    blocks = [block for block in splitter.feed(body) if block is not None]
    assert b"".join(blocks) == body
    assert all(block.endswith(b"\n") for block in blocks)
    assert all(block.count(b"\n") <= BLOCK_LINES for block in blocks)
    assert all(len(block) <= BLOCK_BYTES or block == long for block in blocks)


def test_an_endless_line_is_not_held() -> None:
    splitter = BlockSplitter(1000)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 999)) == []
        assert len(splitter._held) <= 1000
    assert list(splitter.feed(b"\nshort\n")) == [None, b"short\n"]
    assert list(splitter.finish()) == []


async def counting(limit: int, asked: list[int]) -> AsyncIterator[int]:
    for number in range(limit):
        asked.append(number)
        yield number


def test_results_keep_the_order_though_work_ends_in_another() -> None:
    async def collect() -> list[int]:
        gates = [asyncio.Event() for _ in range(4)]

        async def work(number: int) -> int:
            # Each waits for the one after it: only side by side do they end at all.
            if number < 3:
                await gates[number + 1].wait()
            gates[number].set()
            return number

        return [result async for result in in_order(counting(4, []), work, limit=4)]

    assert asyncio.run(collect()) == [0, 1, 2, 3]


def test_whoever_takes_no_results_is_asked_for_no_more_blocks() -> None:
    asked: list[int] = []

    async def take_one() -> None:
        async def work(number: int) -> int:
            return number

        results = in_order(counting(100, asked), work, limit=3)
        assert await anext(results) == 0
        for _ in range(50):
            await asyncio.sleep(0)
        assert asked == [0, 1, 2]
        assert await anext(results) == 1
        await results.aclose()

    asyncio.run(take_one())
    assert len(asked) <= 4


def test_an_error_of_the_blocks_comes_after_the_results_before_it() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise HTTPException(408, "too late")

    async def collect() -> None:
        async def work(number: int) -> int:
            await asyncio.sleep(0)
            return number

        results = in_order(broken(), work, limit=2)
        assert [await anext(results), await anext(results)] == [1, 2]
        with pytest.raises(HTTPException):
            await anext(results)

    asyncio.run(collect())


def test_pieces_are_joined_where_no_waiting_is_needed() -> None:
    async def collect() -> list[bytes]:
        gate = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b"ab"
            await gate.wait()
            yield b"cd"

        joined = []
        async for piece in gathered(pieces(), 6):
            joined.append(piece)
            if sum(map(len, joined)) == 10:
                gate.set()
        return joined

    assert asyncio.run(collect()) == [b"ababab", b"abab", b"cd"]


def test_the_route_answers_in_bulk_and_asks_no_cache(tiny_model: lmserve.NgramModel) -> None:
    harness = Harness(tiny_model)
    body = b'"w1"\n{\n"w2 w3"\n'
    response = harness.request("POST", "/v1/score/stream", content=body)
    assert response.content == run(line_by_line(tiny_model), [body])
    assert harness.count("lmserve_sentences_total") == 2
    assert harness.count("lmserve_stream_line_errors_total") == 1
    assert harness.count("lmserve_cache_misses_total") == 0
    detailed = harness.request("POST", "/v1/score/stream?words=true", content=b'"w1 w2"\n')
    assert len(orjson.loads(detailed.content)["words"]) == 3


def test_blocks_are_scored_in_threads_side_by_side(
    tiny_model: lmserve.NgramModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=30)
    score = lmserve.NgramModel.score_buffer

    def together(self: lmserve.NgramModel, data: bytes, **options: Any) -> TextScores:
        both.wait()
        return score(self, data, **options)

    monkeypatch.setattr(lmserve.NgramModel, "score_buffer", together)
    body = b"w1 w2\n" * (BLOCK_LINES * 2)
    assert run(bulk(tiny_model, plain=True), [body]).count(b"\n") == 2 * BLOCK_LINES


def test_when_the_client_leaves_nothing_more_is_asked_for(
    tiny_model: lmserve.NgramModel,
) -> None:
    asked = ended = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked, ended
        try:
            while True:
                asked += 1
                yield b"w1 w2\n" * 10_000
        finally:
            ended += 1

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client left")

    async def serve() -> None:
        stream = bulk(tiny_model, plain=True).stream(body())
        with pytest.raises(OSError, match="left"):
            await DuplexResponse(stream)(scope("/"), no_more, send)
        while not ended:
            await asyncio.sleep(0)

    async def no_more() -> dict[str, Any]:
        raise AssertionError("the body is read by the stream alone")

    asyncio.run(asyncio.wait_for(serve(), 60))
    assert asked < 50


def test_silence_is_the_last_answer(tiny_model: lmserve.NgramModel) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'"w1"\n"w2"\n'
        await asyncio.Event().wait()

    harness = Harness(tiny_model, max_idle_s=0.2)
    answer = harness.request("POST", "/v1/score/stream", content=body())
    *scores, last = map(orjson.loads, answer.content.splitlines())
    assert [score["tokens"] for score in scores] == [2, 2]
    assert (last["error"]["status"], last["line"]) == (408, 3)
