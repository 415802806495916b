"""Sentences over HTTP: the same as the model's own, whole or as events, and no work for nobody."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from harness import Harness, problem
from live_server import LiveServer, serving_models

from lmserve import NgramModel
from lmserve.errors import OptionError
from lmserve.service.settings import ServiceSettings

Event = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tiny_model: NgramModel) -> Iterator[LiveServer]:
    with serving_models(
        {"tiny": tiny_model}, max_answer_words=10**9, max_sentences=10**6
    ) as server:
        yield server


def generate(server: LiveServer, **body: Any) -> dict[str, Any]:
    response = httpx.post(f"{server.url}/v1/generate", json=body, timeout=60)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def events(text: str) -> list[Event]:
    """Parsed as the standard has it, as far as the service makes use of it."""
    parsed = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        parsed.append((fields["event"], orjson.loads(fields["data"])))
    return parsed


def test_sentences_are_those_that_the_model_samples(
    server: LiveServer, tiny_model: NgramModel
) -> None:
    answer = generate(server, n=20, seed=5, max_words=12)
    assert answer["model"] == tiny_model.digest
    assert answer["seed"] == 5
    sentences = answer["sentences"]
    assert [one["text"] for one in sentences] == tiny_model.sample(20, seed=5, max_words=12)
    assert {one["finish"] for one in sentences} == {"end", "length"}
    for one in sentences:
        scores = tiny_model.score_texts([one["text"]], eos=one["finish"] == "end")
        assert one["log10_prob"] == pytest.approx(float(scores.log10_prob[0]))
        assert one["tokens"] == scores.tokens[0]


def test_sentences_go_on_from_a_context(server: LiveServer, tiny_model: NgramModel) -> None:
    options: dict[str, Any] = {"context": "w1 w0", "bos": False, "seed": -3}
    answer = generate(server, n=5, max_words=9, **options)
    assert [one["text"] for one in answer["sentences"]] == tiny_model.sample(
        5, max_words=9, **options
    )


def test_without_a_seed_one_is_chosen_and_told(server: LiveServer) -> None:
    first, second = (generate(server, max_words=30, n=3) for _ in range(2))
    assert first["seed"] != second["seed"]
    again = generate(server, max_words=30, n=3, seed=first["seed"])
    assert again == first


def test_temperature_0_takes_the_most_probable_words(
    server: LiveServer, tiny_model: NgramModel
) -> None:
    answer = generate(server, temperature=0, max_words=6, context="w2")
    words: list[str] = []
    while len(words) < 6:
        word = tiny_model.next_words(" ".join(["w2", *words]), top=1)[0].word
        if word == "</s>":
            break
        words.append(word)
    assert answer["sentences"][0]["text"] == " ".join(words)
    for same in ({"top_k": 1}, {"top_p": 0}, {"top_k": 1, "temperature": 2, "seed": 8}):
        again = generate(server, max_words=6, context="w2", **same)
        assert again["sentences"] == answer["sentences"]


def test_truncation_keeps_unlikely_words_away(server: LiveServer, tiny_model: NgramModel) -> None:
    likely = {word.word for word in tiny_model.next_words("", top=4)}
    answer = generate(server, n=100, max_words=1, top_k=4, seed=1)
    drawn = {one["text"] or "</s>" for one in answer["sentences"]}
    assert drawn <= likely
    assert len(drawn) > 1


def test_events_add_up_to_the_whole_answer(server: LiveServer) -> None:
    body: dict[str, Any] = {"n": 6, "seed": 2, "max_words": 8, "stop": ["w1 w", "w7"]}
    whole = generate(server, **body)
    response = httpx.post(f"{server.url}/v1/generate", json=body | {"stream": True}, timeout=60)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-model-digest"] == whole["model"]
    *told, last = events(response.text)
    assert last == ("done", {"model": whole["model"], "seed": 2})
    assert [data for name, data in told if name == "sentence"] == whole["sentences"]
    assert {one["finish"] for one in whole["sentences"]} >= {"stop"}
    for sentence in whole["sentences"]:
        words = [
            data for name, data in told if name == "word" and data["index"] == sentence["index"]
        ]
        assert len(words) == sentence["tokens"]
        text = " ".join(word["word"] for word in words if word["word"] != "</s>")
        assert text.startswith(sentence["text"])
        assert sum(word["log10_prob"] for word in words) == pytest.approx(sentence["log10_prob"])


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_ends_the_work(server: LiveServer, stream: bool) -> None:
    # Hours of work.
    body = orjson.dumps({"n": 10**6, "max_words": 1000, "stream": stream})
    head = b"POST /v1/generate HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
    left = server.count("lmserve_disconnects_total")
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port)) as client:
        client.sendall(head + body)
        if stream:
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        else:
            wait_for(lambda: server.count("lmserve_requests_in_flight") == 1)
    wait_for(lambda: server.count("lmserve_requests_in_flight") == 0)
    assert server.count("lmserve_disconnects_total") == left + 1


def wait_for(condition: Any) -> None:
    ends_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_generated_words_are_counted(tiny_model: NgramModel) -> None:
    harness = Harness(tiny_model)
    body = {"n": 3, "seed": 1, "max_words": 7}
    answer = harness.request("POST", "/v1/generate", json=body).json()
    tokens = sum(one["tokens"] for one in answer["sentences"])
    assert harness.count("lmserve_generated_words_total") == tokens
    harness.request("POST", "/v1/generate", json=body | {"stream": True})
    assert harness.count("lmserve_generated_words_total") == 2 * tokens


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"n": 0}, 422, "n"),
        ({"n": 6}, 422, "n is 6; ask for at most 5"),
        ({"n": 3, "max_words": 34}, 422, "102; ask for at most 100 words"),
        ({"max_words": -1}, 422, "max_words"),
        ({"temperature": -0.1}, 422, "temperature"),
        ({"temperature": "1"}, 422, "temperature"),
        ({"top_k": 0}, 422, "top_k"),
        ({"top_p": 1.5}, 422, "top_p"),
        ({"seed": 2**63}, 422, "seed"),
        ({"stop": ""}, 422, "stop"),
        ({"stop": ["x"] * 17}, 422, "stop"),
        ({"model": "tabel"}, 404, "tabel"),
        ({"context": "w" * 500}, 413, "500"),
    ],
)
def test_what_cannot_be_generated(
    tiny_model: NgramModel, body: dict[str, Any], status: int, says: str
) -> None:
    limits = {"max_sentences": 5, "max_answer_words": 100, "max_context_bytes": 500}
    response = Harness(tiny_model, **limits).request("POST", "/v1/generate", json=body)
    refused = problem(response)
    assert refused.status == status
    assert says in refused.detail


@pytest.mark.parametrize("limit", ["max_context_bytes", "max_sentences", "max_answer_words"])
def test_limits_of_generation_make_sense(limit: str) -> None:
    with pytest.raises(OptionError, match=limit):
        ServiceSettings(**{limit: 0})
