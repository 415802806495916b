"""The client for programs without an event loop."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, Unpack

import httpx
import pyarrow as pa

from lmserve.client import calls, generating
from lmserve.client.blocks import Blocks
from lmserve.client.calls import Answer, Call, Request, Result, ScoreOptions
from lmserve.client.dialogue import Dialogue
from lmserve.client.files import AnswerFile
from lmserve.client.generating import Event, EventReader, GenerateOptions
from lmserve.client.one_model import OneModel
from lmserve.client.ordered import in_order
from lmserve.client.remote import CONNECTION_ERRORS, Options, Remote
from lmserve.client.retrying import Attempts
from lmserve.client.sessions import Session
from lmserve.client.tables import SCORES, TableOptions, score_tables
from lmserve.errors import ServiceError


class Client:
    """A client of one service; several threads may use it.

    Keeps connections open: close it, or use it in a `with` statement. Every method raises
    `ServiceError` where the service cannot be reached, refuses, or breaks off, and where trying
    again, as the option `retry` has it, did not help.

    Args:
        url: of the service, such as "http://127.0.0.1:8000".
        options: see `Options`.

    Raises:
        ServiceError: `url` is none.
        OptionError: an option outside its range.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self._remote = Remote(url, **options)
        self._http = httpx.Client(**self._remote.http_options())

    def score(self, texts: Sequence[str], **options: Unpack[ScoreOptions]) -> list[Answer]:
        """The scores of some texts: log10_prob, perplexity, tokens, oov; see `ScoreOptions`."""
        return self._send(calls.score(texts, options)).scores

    def score_stream(
        self, texts: Iterable[str], *, batch: int = 256, **options: Unpack[ScoreOptions]
    ) -> Iterator[Answer]:
        """Yields a score for each text, in order, exactly one.

        Texts are taken from the iterable, in a thread of their own, while answers come back, and
        sent some at a time: where a connection breaks, those that it carried are sent again. Taking
        an answer may take any time, and so may giving a text.

        Args:
            texts: any number of them; a line break in one counts as a space.
            batch: texts sent together. With 1 no text waits for the next: the iterable may take
                each answer into account before it gives the next text.
            options: see `ScoreOptions`.

        Raises:
            OptionError: `batch` is below 1.
            ServiceError: also where the service begins to answer from another model. All answers to
                texts before those that the error names were given.
            Exception: whatever the iterable raised, after the answers to the texts before.
        """
        blocks = Blocks(options, batch).cut(texts)
        model = OneModel()
        for scored in in_order(blocks, self._send, self._remote.in_flight):
            yield from model.checked(scored)
            self._remote.check(scored)

    def score_file(
        self, text: Path, output: Path, *, batch: int = 1024, **options: Unpack[ScoreOptions]
    ) -> int:
        """Writes a line of JSON for each line of a text, and returns their number.

        An interrupted run leaves `output` with ".partial" at the end of its name; the same call
        goes on from the first line that it does not answer. See `score_stream`.

        Raises:
            OptionError: `output` exists, or a file cannot be read or written.
            ServiceError: also where the answers so far are not of the same text, model, options.
        """
        with AnswerFile(text, output) as file:
            for answer in self.score_stream(file.texts(), batch=batch, **options):
                file.add(answer)
            return file.finish()

    def score_arrow(self, table: pa.Table, **options: Unpack[TableOptions]) -> pa.Table:
        """The scores of a column of texts: a table of log10_prob, perplexity, tokens and oov.

        The fastest way to many scores: neither side makes an object of a text. A null, and a text
        longer than the service takes, has a row of nulls. Requests and errors are as in
        `score_stream`.

        Args:
            table: with a column of strings or bytes.
            options: see `TableOptions`.

        Raises:
            OptionError: there is no such column, or `batch` is below 1.
        """
        blocks = score_tables(table, options)
        model = OneModel()
        batches: list[pa.RecordBatch] = []
        for scored in in_order(blocks, self._send, self._remote.in_flight):
            batches += model.checked(scored)
        return pa.Table.from_batches(batches, SCORES)

    def next_words(
        self, context: str = "", *, top: int = 10, model: str | None = None, bos: bool = True
    ) -> list[Answer]:
        """The `top` most probable words after a context: word, log10_prob, probability.

        Args:
            context: the words before.
            top: how many.
            model: its name; without one, the service's first.
            bos: the context begins a sentence.
        """
        return self._send(generating.next_words(context, top=top, model=model, bos=bos))

    def generate(self, context: str = "", **options: Unpack[GenerateOptions]) -> list[Answer]:
        """Sentences drawn by their probabilities: index, text, finish, tokens, log10_prob.

        Args:
            context: words that each goes on from.
            options: see `GenerateOptions`.
        """
        return self._send(generating.generate(context, options))

    def generate_stream(
        self, context: str = "", **options: Unpack[GenerateOptions]
    ) -> Iterator[Event]:
        """Yields the words of sentences as they are drawn, each sentence, and the end.

        Where the connection breaks, the same sentences are asked for again, by their seed, and what
        was yielded is passed over. For arguments, see `generate`.
        """
        request = generating.generate_stream(context, options)
        reader = EventReader()
        attempts = Attempts(self._remote.retry)
        while True:
            try:
                for event in self._events(request, reader, attempts.left_s):
                    attempts = Attempts(self._remote.retry)
                    yield event
            except ServiceError as error:
                time.sleep(attempts.pause_s(error))
            else:
                return

    def session(
        self,
        *,
        model: str | None = None,
        state: str | None = None,
        top: int = 0,
        bos: bool = True,
    ) -> Session:
        """A session, to be used in a `with` statement: words scored as they come.

        Args:
            model: its name; without one, the service's first.
            state: ID of a state to go on from.
            top: how many next words each answer proposes.
            bos: condition the first word on the start of a sentence.
        """
        query = {"model": model, "state": state, "top": top, "bos": bos}
        return Session(self._remote, Dialogue(self._remote, query))

    def health(self) -> Answer:
        """That the service answers, and the digest of its model."""
        return self._send(calls.health())

    def models(self) -> list[Answer]:
        """The models being served: id, version, digest, kind and more."""
        return self._send(calls.models())

    def metrics(self) -> str:
        """The service's metrics, in Prometheus text format."""
        return self._send(calls.metrics())

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _send(self, call: Call[Result], left: threading.Event | None = None) -> Result:
        """The result of a call, after as many attempts as it takes and as are allowed.

        Args:
            call: what is asked.
            left: tells that nobody waits for the result any more.
        """
        attempts = Attempts(self._remote.retry)
        left = left or threading.Event()
        while True:
            try:
                return self._once(call, attempts.left_s)
            except ServiceError as error:
                if left.wait(attempts.pause_s(error)):
                    raise

    def _once(self, call: Call[Result], left_s: float) -> Result:
        end_s = time.monotonic() + left_s
        body = bytearray()
        try:
            with self._http.stream(**self._remote.request(call, left_s)) as answer:
                for piece in answer.iter_bytes():
                    body += piece
                    if time.monotonic() > end_s:
                        raise TimeoutError("the deadline is over")
        except CONNECTION_ERRORS as error:
            raise self._remote.broken(error, call.subject) from error
        return self._remote.read(call, answer, bytes(body))

    def _events(self, request: Request, reader: EventReader, left_s: float) -> Iterator[Event]:
        try:
            with self._http.stream(**self._remote.request(request, left_s)) as answer:
                if not answer.is_success:
                    raise self._remote.refused(answer, answer.read(), request.subject)
                reader.begin(answer.headers)
                for piece in answer.iter_bytes():
                    yield from reader.feed(piece)
                reader.end()
        except (*CONNECTION_ERRORS, ValueError) as error:
            raise self._remote.broken(error, request.subject) from error
