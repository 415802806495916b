"""Both clients with the routes that need a language model: tables, words to come, sentences."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from client_kinds import AT_ONCE, KINDS, ONCE, call
from live_service import live
from raw_server import answer, answering, raw_server, read_request, read_whole
from relay import cutting_relay

import lmserve
from lmserve.client import AsyncClient, Client, Event
from lmserve.errors import OptionError, ServiceError

TEXTS = [f"w{number % 40} " * (number % 7) + "w0" for number in range(1000)]


@pytest.fixture(scope="module")
def url(tiny_model: lmserve.NgramModel) -> Iterator[str]:
    # Compiles kernels, which takes longer than clients wait.
    tiny_model.next_words("", top=1)
    tiny_model.score_array(pa.array(["w0"]))
    with live(tiny_model) as running:
        yield f"http://127.0.0.1:{running.port}"


def events(kind: str, url: str, context: str, **options: Any) -> list[Event]:
    retry = options.pop("retry", ONCE)
    if kind == "sync":
        with Client(url, retry=retry) as client:
            return list(client.generate_stream(context, **options))

    async def in_loop() -> list[Event]:
        async with AsyncClient(url, retry=retry) as client:
            return [event async for event in client.generate_stream(context, **options)]

    return asyncio.run(in_loop())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"batch": 64, "eos": False, "bos": False, "model": "0"}])
def test_tables_are_scored(
    kind: str, url: str, options: Any, tiny_model: lmserve.NgramModel
) -> None:
    table = pa.table({"text": pa.chunked_array([TEXTS[:300], TEXTS[300:]]), "other": [1] * 1000})
    marks = {name: options.get(name, True) for name in ("bos", "eos")}
    expected = tiny_model.score_texts(TEXTS, **marks)
    for client in ({}, {"gzip_bytes": 100}):
        scores = call(kind, url, "score_arrow", table, client=client, **options)
        assert scores["log10_prob"].to_pylist() == expected.log10_prob.tolist()
        assert scores["tokens"].to_pylist() == expected.tokens.tolist()
        assert scores["oov"].to_pylist() == expected.oov.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_tables_have_a_column_of_texts(kind: str, url: str) -> None:
    table = pa.table({"line": pa.array([b"w0", None, b"w1"])})
    scores = call(kind, url, "score_arrow", table, column="line")
    assert scores["tokens"].to_pylist() == [2, None, 2]
    assert call(kind, url, "score_arrow", table[:0], column="line").num_rows == 0
    with pytest.raises(OptionError, match="not one 'text'"):
        call(kind, url, "score_arrow", table)
    with pytest.raises(OptionError, match="batch is 0"):
        call(kind, url, "score_arrow", table, column="line", batch=0)
    with pytest.raises(ServiceError, match=r"answered 422 to rows 1 to 1: .* int64"):
        call(kind, url, "score_arrow", pa.table({"text": [1]}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_survives_a_network_that_cuts_connections(
    kind: str, url: str, tiny_model: lmserve.NgramModel
) -> None:
    cuts = [*range(100, 30_000, 1500), None]
    with cutting_relay(int(url.rpartition(":")[2]), cuts) as relay:
        scores = call(
            kind,
            relay.url,
            "score_arrow",
            pa.table({"text": TEXTS}),
            batch=50,
            client={"retry": AT_ONCE},
        )
        assert relay.connections > 3
    assert scores["log10_prob"].to_pylist() == tiny_model.score_texts(TEXTS).log10_prob.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 2])
def test_answers_that_lack_rows_are_an_error(kind: str, rows: int) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table(
        {
            "log10_prob": pa.array([-1.0] * rows, pa.float64()),
            "perplexity": pa.array([1.0] * rows, pa.float64()),
            "tokens": pa.array([1] * rows, pa.int64()),
            "oov": pa.array([0] * rows, pa.int64()),
        }
    )
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    complete = sink.getvalue().to_pybytes()
    for body in (complete, complete[:-30], b"", b"nonsense" * 9):

        def handle(reader: BinaryIO, writer: BinaryIO, body: bytes = body) -> None:
            read_whole(reader)
            writer.write(answer(body))

        with (
            raw_server(handle) as url,
            pytest.raises(ServiceError, match="rows 1 to 3, or broke off") as caught,
        ):
            call(kind, url, "score_arrow", pa.table({"text": ["a", "b", "c"]}))
        assert not caught.value.passing


@pytest.mark.parametrize("kind", KINDS)
def test_next_words_are_those_of_the_model(
    kind: str, url: str, tiny_model: lmserve.NgramModel
) -> None:
    for options in ({"top": 5}, {"top": 3, "bos": False}):
        words = call(kind, url, "next_words", "w0 w1", **options)
        expected = tiny_model.next_words("w0 w1", **options)
        assert [(one["word"], one["log10_prob"]) for one in words] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_are_drawn_at_once_or_word_by_word(kind: str, url: str) -> None:
    options: dict[str, Any] = {"n": 3, "seed": 7, "max_words": 12, "temperature": 0.8}
    sentences = call(kind, url, "generate", "w0", **options)
    assert len(sentences) == 3
    stream = events(kind, url, "w0", **options)
    assert [event.data for event in stream if event.name == "sentence"] == sentences
    words = sum(event.name == "word" for event in stream)
    assert words == sum(sentence["tokens"] for sentence in sentences)
    assert stream[-1].name == "done"
    assert stream[-1].data["seed"] == 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_drawing_says_why(kind: str, url: str) -> None:
    with pytest.raises(ServiceError, match="answered 422") as caught:
        events(kind, url, "", n=100_000, retry=AT_ONCE)
    assert caught.value.status == 422


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_whose_connection_breaks_are_the_same(kind: str, url: str) -> None:
    options: dict[str, Any] = {"n": 5, "seed": 3, "max_words": 20}
    expected = events(kind, url, "w0", **options)
    cuts = [*range(300, 6000, 450), None]
    with cutting_relay(int(url.rpartition(":")[2]), cuts) as relay:
        assert events(kind, relay.url, "w0", retry=AT_ONCE, **options) == expected
        assert relay.connections > 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_chosen_where_none_is_given(kind: str) -> None:
    """So that the same sentences can be asked for again."""
    seeds = []
    lost = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        seeds.append(read_request(reader)["seed"])
        writer.write(lost)

    with raw_server(handle, handle, answering(answer(b"x", status="400 Bad Request"))) as url:
        with pytest.raises(ServiceError, match="answered 400"):
            events(kind, url, "w0", retry=AT_ONCE)
        assert seeds[0] == seeds[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"data: {\n\n", b"event: word\ndata: []\n\n", b"\n\n"])
def test_what_is_no_event_is_an_error(kind: str, body: bytes) -> None:
    with raw_server(answering(answer(body))) as url, pytest.raises(ServiceError, match="broke"):
        events(kind, url, "w0", retry=AT_ONCE)


def test_without_its_packages_the_client_names_them() -> None:
    script = """
import sys
import lmserve.errors
for missing in ("httpx", "websockets"):
    sys.modules[missing] = None
    import jobs.cli
    try:
        import lmserve.client
    except lmserve.errors.DependencyError as error:
        print(error)
    del sys.modules[missing]
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    install = "Install it: pip install 'lmserve[client]'."
    assert result.stdout.splitlines() == [
        "httpx is not installed; lmserve.client works with it",
        install,
        "websockets is not installed; lmserve.client works with it",
        install,
    ], result.stderr
