"""Requests about words to come, and the events of sentences that are being drawn."""

import secrets
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypedDict

import httpx
import orjson

from lmserve.client.calls import Answer, Call, Request, read_object, read_objects
from lmserve.client.one_model import OneModel, Scored


class GenerateOptions(TypedDict, total=False):
    """How sentences are drawn; what is left out is the service's to choose.

    Attributes:
        n: how many.
        max_words: each is cut off after so many.
        seed: same seed, same sentences.
        temperature: below 1, likelier words become likelier still; 0 takes the likeliest.
        top_k: draw from so many of the most probable words.
        top_p: draw from the most probable words with this share together.
        stop: a sentence ends before the first of these that comes.
        model: name of the model; without one, the service's first.
        bos: the context begins a sentence.
    """

    n: int
    max_words: int
    seed: int | None
    temperature: float
    top_k: int | None
    top_p: float
    stop: str | list[str] | None
    model: str | None
    bos: bool


class Event(NamedTuple):
    """What happens to a sentence that is being drawn.

    Attributes:
        name: "word" with `index`, `word`, `log10_prob`; "sentence" with what `generate` returns;
            at last "done" with `model` and `seed`.
        data: its members.
    """

    name: str
    data: Answer


def next_words(context: str, *, top: int, model: str | None, bos: bool) -> Call[list[Answer]]:
    """The most probable next words."""
    body = {"context": context, "top": top, "model": model, "bos": bos}
    return Call(
        method="POST",
        path="/v1/next",
        read=lambda reply: read_objects(read_object(reply.body).get("words")),
        body=orjson.dumps(body),
        subject="the context",
    )


def generate(context: str, options: GenerateOptions) -> Call[list[Answer]]:
    """Sentences, all at once."""
    return Call(
        method="POST",
        path="/v1/generate",
        read=lambda reply: read_objects(read_object(reply.body).get("sentences")),
        body=orjson.dumps({"context": context, **options}),
        subject="the context",
    )


def generate_stream(context: str, options: GenerateOptions) -> Request:
    """Sentences as events, with a seed in any case: the same request has the same events."""
    seed = options.get("seed")
    chosen = {"seed": secrets.randbits(32) if seed is None else seed}
    return Request(
        method="POST",
        path="/v1/generate",
        body=orjson.dumps({"context": context, **options, **chosen, "stream": True}),
        subject="the context",
    )


class EventReader:
    """Reads events, and passes over those that an earlier answer to the same request had."""

    def __init__(self) -> None:
        self._given = 0
        self._model = OneModel()

    def begin(self, headers: Mapping[str, str]) -> None:
        """An answer begins; raises `ServiceError` where another model gives it."""
        self._model.checked(Scored(digest=headers.get("X-Model-Digest", ""), scores=[]))
        self._held = b""
        self._read = 0
        self._name = ""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The new events that a piece completes; raises `ValueError` for what is none."""
        *blocks, self._held = (self._held + piece).split(b"\n\n")
        for block in blocks:
            event = _event(block)
            self._read += 1
            self._name = event.name
            if self._read > self._given:
                self._given += 1
                yield event

    def end(self) -> None:
        """Raises `RemoteProtocolError` where the last event is missing."""
        if self._name != "done":
            raise httpx.RemoteProtocolError(f"the events end after {self._read}")


def _event(block: bytes) -> Event:
    fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
    return Event(fields.get(b"event", b"message").decode(), read_object(fields.get(b"data", b"")))
