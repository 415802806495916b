"""Texts and scores as Arrow's IPC stream."""

import asyncio
import io
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pytest
from harness import Harness, problem
from scorers import table
from starlette.exceptions import HTTPException
from streaming import as_pieces

import lmserve
from lmserve.service.arrow_answers import MEDIA_TYPE, SCHEMA, ArrowAnswers, wait_for_schema
from lmserve.service.arrow_messages import BatchReader
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import ScoreOptions
from lmserve.service.settings import ServiceSettings

TEXTS = ["w1 w2 w3", "", "w1 \n w9 ü", "w2"]
HEADERS = {"Content-Type": MEDIA_TYPE}
MIB = 1 << 20


def written(*batches: pa.RecordBatch, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batches[0].schema, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def texts(values: list[Any], kind: pa.DataType | None = None, **others: Any) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(values, kind or pa.string())} | others)


def rows(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


def error_of(content: bytes) -> dict[str, Any]:
    """What the last batch says."""
    with pa.ipc.open_stream(content) as stream:
        *_, (batch, metadata) = stream.iter_batches_with_custom_metadata()
    assert batch.num_rows == 0
    error: dict[str, Any] = orjson.loads(metadata[b"error"])
    return error


def post(harness: Harness, content: bytes, query: str = "") -> httpx.Response:
    return harness.request("POST", f"/v1/score/stream{query}", content=content, headers=HEADERS)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_scores_are_those_of_the_model(tiny_model: lmserve.NgramModel, kind: pa.DataType) -> None:
    harness = Harness(tiny_model)
    answer = post(harness, written(texts(TEXTS, kind), texts(["w3"], kind)), "?bos=false")
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["x-model-digest"] == tiny_model.digest
    scores = tiny_model.score_texts([*TEXTS, "w3"], bos=False)
    got = rows(answer.content)
    assert got.schema == SCHEMA
    assert got["log10_prob"].to_pylist() == scores.log10_prob.tolist()
    assert got["perplexity"].to_pylist() == [score.perplexity for score in scores.rows()]
    assert got["tokens"].to_pylist() == scores.tokens.tolist()
    assert got["oov"].to_pylist() == scores.oov.tolist()
    assert harness.count("lmserve_sentences_total") == 5
    assert harness.count("lmserve_words_total") == scores.tokens.sum()


def test_models_that_take_no_columns_are_asked_for_texts() -> None:
    answer = post(Harness(table()), written(texts(["the cat", "never"])))
    assert rows(answer.content)["log10_prob"].to_pylist() == [-3.5, -float("inf")]


def test_large_batches_are_answered_in_parts_and_in_order(tiny_model: lmserve.NgramModel) -> None:
    values = ["w1 " * (number % 100) for number in range(20_000)]
    answer = post(Harness(tiny_model), written(texts(values)))
    with pa.ipc.open_stream(answer.content) as stream:
        batches = list(stream)
    assert len(batches) > 4
    assert rows(answer.content)["tokens"].to_pylist() == [
        number % 100 + 1 for number in range(20_000)
    ]


def test_rows_without_a_text_are_null(tiny_model: lmserve.NgramModel) -> None:
    harness = Harness(tiny_model, max_line_bytes=20)
    values = [None, "w1", "x" * 21, "w2 w3", "x" * 20, None]
    got = rows(post(harness, written(texts(values), texts([None]))).content)
    assert got["tokens"].to_pylist() == [None, 2, None, 3, 2, None, None]
    assert got["log10_prob"].null_count == 4
    assert harness.count("lmserve_sentences_total") == 3
    assert harness.count("lmserve_stream_line_errors_total") == 4


def test_other_columns_are_ignored(tiny_model: lmserve.NgramModel) -> None:
    others = {"id": [1, 2, 3, 4], "tags": [["a"], [], None, ["b", "c"]]}
    got = rows(post(Harness(tiny_model), written(texts(TEXTS, **others))).content)
    assert got.num_rows == 4


def test_no_batches_no_rows(tiny_model: lmserve.NgramModel) -> None:
    harness = Harness(tiny_model)
    assert rows(post(harness, written(texts([]))).content).num_rows == 0
    sink = io.BytesIO()
    pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])).close()
    assert rows(post(harness, sink.getvalue()).content).num_rows == 0


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (written(pa.record_batch({"txt": ["w1"]})), 422, "txt"),
        (written(texts([1], pa.int64())), 422, "int64"),
        (written(pa.record_batch([["a"], ["b"]], names=["text", "text"])), 422, "one column"),
        (b'{"text": "w1"}\n', 413, "longer"),
        (b"\xfe\xff\xff\xff" * 9, 422, "no Arrow IPC stream"),
        (b"", 400, "too early"),
        (written(texts(["w1"]))[:30], 400, "too early"),
    ],
)
def test_streams_without_texts_are_refused_before_the_answer_begins(
    tiny_model: lmserve.NgramModel, content: bytes, status: int, detail: str
) -> None:
    refused = problem(post(Harness(tiny_model), content))
    assert refused.status == status
    assert detail in refused.detail


def test_words_are_refused(tiny_model: lmserve.NgramModel) -> None:
    assert problem(post(Harness(tiny_model), written(texts(["w1"])), "?words=true")).status == 422


@pytest.mark.parametrize(
    ("batch", "options", "status", "detail"),
    [
        (
            texts(["w1 " * 9999]),
            {"options": pa.ipc.IpcWriteOptions(compression="zstd")},
            422,
            "zst",
        ),
        (texts(["w1"], id=pa.array(["x"]).dictionary_encode()), {}, 422, "dictionary"),
        (texts(["x" * MIB]), {}, 413, "smaller batches"),
    ],
)
def test_batches_that_cannot_be_read_end_the_answer(
    tiny_model: lmserve.NgramModel,
    batch: pa.RecordBatch,
    options: dict[str, Any],
    status: int,
    detail: str,
) -> None:
    answer = post(Harness(tiny_model, max_body_bytes=MIB), written(batch, batch, **options))
    assert answer.status_code == 200
    error = error_of(answer.content)
    assert error["status"] == status
    assert detail in error["detail"]


def test_text_that_is_no_utf8_is_an_error_after_the_rows_before_it(
    tiny_model: lmserve.NgramModel,
) -> None:
    broken = pa.Array.from_buffers(
        pa.string(),
        1,
        [*texts(["four"])["text"].buffers()[:2], pa.py_buffer(b"\xff\xff\xff\xff")],
    )
    content = written(texts(["w1"]), pa.record_batch({"text": broken}), texts(["w2"]))
    answer = post(Harness(tiny_model), content)
    assert rows(answer.content).num_rows == 1
    assert "UTF8" in error_of(answer.content)["detail"]


def test_a_stream_that_breaks_off_says_so_at_the_end(tiny_model: lmserve.NgramModel) -> None:
    answer = post(Harness(tiny_model), written(texts(["w1", "w2"]), texts(["w3"]))[:-30])
    assert rows(answer.content).num_rows == 2
    assert error_of(answer.content)["status"] == 400


def test_a_batch_is_answered_before_the_next_is_sent(tiny_model: lmserve.NgramModel) -> None:
    stream = written(texts(["w1"]), texts(["w2 w3"]))
    messages = list(cut(stream))

    async def converse() -> list[int]:
        answered = asyncio.Queue[int]()
        reader = BatchReader(MIB)

        async def pieces() -> AsyncIterator[bytes]:
            yield messages[0]
            for number, message in enumerate(messages[1:]):
                assert answered.qsize() == number
                yield message
                while answered.qsize() == number:
                    await asyncio.sleep(0)

        body = pieces()
        await wait_for_schema(reader, body)
        answers = ArrowAnswers(
            model=tiny_model,
            metrics=ServiceMetrics(),
            settings=ServiceSettings(),
            options=ScoreOptions(),
        )
        received = answers.stream(reader, body)
        begin = await anext(received)
        tokens = []
        for _ in messages[1:]:
            batch = await anext(received)
            tokens += rows(begin + batch)["tokens"].to_pylist()
            answered.put_nowait(1)
        assert rows(begin + b"".join([part async for part in received])).num_rows == 0
        return tokens

    assert asyncio.run(converse()) == [2, 3]


def cut(stream: bytes) -> Iterator[bytes]:
    """The stream's messages, without its end."""
    source = io.BytesIO(stream)
    messages = pa.ipc.MessageReader.open_stream(source)
    start = 0
    for _ in range(3):
        messages.read_next_message()
        yield stream[start : source.tell()]
        start = source.tell()


def test_any_cut_gives_the_same_batches() -> None:
    batch = texts(TEXTS, id=[1, 2, 3, 4])
    stream = written(batch, batch.slice(2), batch.slice(1, 2)) + b"what follows the end"
    for size in (1, 7, 64, len(stream)):
        reader = BatchReader(MIB)
        got = []
        for start in range(0, len(stream), size):
            reader.feed(stream[start : start + size])
            got += list(reader.batches())
        reader.finish()
        expected = [batch, batch.slice(2), batch.slice(1, 2)]
        assert got == [one.select(["text"]) for one in expected]


def test_a_message_is_refused_before_it_is_held() -> None:
    reader = BatchReader(MIB)
    reader.feed(written(texts(["x" * (64 * MIB)]))[:1000])
    with pytest.raises(HTTPException, match="longer") as refused:
        list(reader.batches())
    assert refused.value.status_code == 413


def test_damaged_bytes_are_errors_not_crashes(tiny_model: lmserve.NgramModel) -> None:
    batch = texts(TEXTS, id=[1, 2, 3, 4])
    stream = written(batch, batch.slice(1, 2))
    draw = random.Random(0)
    answers = ArrowAnswers(
        model=tiny_model,
        metrics=ServiceMetrics(),
        settings=ServiceSettings(),
        options=ScoreOptions(),
    )

    async def answer(damaged: bytes) -> bytes | None:
        reader = BatchReader(MIB)
        body = as_pieces([damaged])
        try:
            await wait_for_schema(reader, body)
        except HTTPException:
            return None
        return b"".join([part async for part in answers.stream(reader, body)])

    async def answer_all() -> list[bytes | None]:
        return [await answer(damage(stream, draw)) for _ in range(1000)]

    answered = [content for content in asyncio.run(answer_all()) if content is not None]
    assert 100 < len(answered) < 900
    assert max(rows(content).num_rows for content in answered) <= 6


def damage(stream: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(stream)
    for _ in range(draw.randint(1, 3)):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    return bytes(damaged)
