"""Requests of all kinds to a service that has the models `words` and `net`, again and again."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager

import httpx
from corpora import zipf_text
from websockets.sync.client import connect

_PAUSE_S = 0.2


@contextmanager
def traffic(url: str, threads: Executor) -> Iterator["Future[None]"]:
    """Sends requests until the block ends, and then raises what one of them came to."""
    ended = threading.Event()
    texts = zipf_text(20).splitlines()

    def send() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not ended.wait(_PAUSE_S):
                one_of_each(client, texts)

    sending = threads.submit(send)
    try:
        yield sending
    finally:
        ended.set()
    sending.result()


def one_of_each(client: httpx.Client, texts: list[str]) -> None:
    """Scores of each model, a stream, a continuation, a session, and a request that is refused."""
    for model in ("words", "net"):
        succeed(client, "/v1/score", {"texts": [*texts, "never heard of"], "model": model})
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    kind = {"Content-Type": "application/x-ndjson"}
    streamed = client.post("/v1/score/stream?model=words", content=lines, headers=kind)
    assert streamed.is_success, streamed.text
    assert len(streamed.text.splitlines()) == len(texts)
    succeed(client, "/v1/generate", {"context": "w0", "max_words": 5, "model": "words"})
    assert client.post("/v1/score", json={"texts": 1}).status_code == 422
    ask_word_by_word(client.base_url.copy_with(scheme="ws"), texts[0].split())


def succeed(client: httpx.Client, route: str, body: dict[str, object]) -> None:
    answer = client.post(route, json=body)
    assert answer.is_success, answer.text


def ask_word_by_word(url: httpx.URL, words: list[str]) -> None:
    with connect(str(url.join("/v1/stream?model=words"))) as session:
        session.recv(timeout=30)
        for word in words:
            session.send(json.dumps({"text": word + " "}))
            session.recv(timeout=30)
