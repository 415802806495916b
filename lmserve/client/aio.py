"""The client for programs with an event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
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
from lmserve.client.ordered import as_async, in_order_async
from lmserve.client.remote import CONNECTION_ERRORS, Options, Remote
from lmserve.client.retrying import Attempts
from lmserve.client.sessions import AsyncSession
from lmserve.client.tables import SCORES, TableOptions, score_tables
from lmserve.errors import ServiceError


class AsyncClient:
    """`Client` for an event loop: the same methods, to be awaited or iterated over with `async`.

    Args:
        url: of the service, such as "http://127.0.0.1:8000".
        options: see `Options`.

    Raises:
        ServiceError: `url` is none.
        OptionError: an option outside its range.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self._remote = Remote(url, **options)
        self._http = httpx.AsyncClient(**self._remote.http_options())

    async def score(self, texts: Sequence[str], **options: Unpack[ScoreOptions]) -> list[Answer]:
        """See `Client.score`."""
        return (await self._send(calls.score(texts, options))).scores

    async def score_stream(
        self,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        batch: int = 256,
        **options: Unpack[ScoreOptions],
    ) -> AsyncIterator[Answer]:
        """See `Client.score_stream`; an iterable that may wait is to be an asynchronous one."""
        blocks = Blocks(options, batch).cut_async(texts)
        model = OneModel()
        async with aclosing(in_order_async(blocks, self._send, self._remote.in_flight)) as results:
            async for scored in results:
                for answer in model.checked(scored):
                    yield answer
                self._remote.check(scored)

    async def score_file(
        self, text: Path, output: Path, *, batch: int = 1024, **options: Unpack[ScoreOptions]
    ) -> int:
        """See `Client.score_file`."""
        with AnswerFile(text, output) as file:
            async for answer in self.score_stream(file.texts(), batch=batch, **options):
                file.add(answer)
            return file.finish()

    async def score_arrow(self, table: pa.Table, **options: Unpack[TableOptions]) -> pa.Table:
        """See `Client.score_arrow`."""
        blocks = as_async(score_tables(table, options))
        model = OneModel()
        batches: list[pa.RecordBatch] = []
        async with aclosing(in_order_async(blocks, self._send, self._remote.in_flight)) as results:
            async for scored in results:
                batches += model.checked(scored)
        return pa.Table.from_batches(batches, SCORES)

    async def next_words(
        self, context: str = "", *, top: int = 10, model: str | None = None, bos: bool = True
    ) -> list[Answer]:
        """See `Client.next_words`."""
        return await self._send(generating.next_words(context, top=top, model=model, bos=bos))

    async def generate(self, context: str = "", **options: Unpack[GenerateOptions]) -> list[Answer]:
        """See `Client.generate`."""
        return await self._send(generating.generate(context, options))

    async def generate_stream(
        self, context: str = "", **options: Unpack[GenerateOptions]
    ) -> AsyncIterator[Event]:
        """See `Client.generate_stream`."""
        request = generating.generate_stream(context, options)
        reader = EventReader()
        attempts = Attempts(self._remote.retry)
        while True:
            try:
                async with aclosing(self._events(request, reader, attempts.left_s)) as events:
                    async for event in events:
                        attempts = Attempts(self._remote.retry)
                        yield event
            except ServiceError as error:
                await asyncio.sleep(attempts.pause_s(error))
            else:
                return

    def session(
        self,
        *,
        model: str | None = None,
        state: str | None = None,
        top: int = 0,
        bos: bool = True,
    ) -> AsyncSession:
        """See `Client.session`."""
        query = {"model": model, "state": state, "top": top, "bos": bos}
        return AsyncSession(self._remote, Dialogue(self._remote, query))

    async def health(self) -> Answer:
        """See `Client.health`."""
        return await self._send(calls.health())

    async def models(self) -> list[Answer]:
        """See `Client.models`."""
        return await self._send(calls.models())

    async def metrics(self) -> str:
        """See `Client.metrics`."""
        return await self._send(calls.metrics())

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _send(self, call: Call[Result]) -> Result:
        attempts = Attempts(self._remote.retry)
        while True:
            try:
                return await self._once(call, attempts.left_s)
            except ServiceError as error:
                await asyncio.sleep(attempts.pause_s(error))

    async def _once(self, call: Call[Result], left_s: float) -> Result:
        try:
            async with asyncio.timeout(left_s):
                answer = await self._http.request(**self._remote.request(call, left_s))
        except CONNECTION_ERRORS as error:
            raise self._remote.broken(error, call.subject) from error
        return self._remote.read(call, answer, answer.content)

    async def _events(
        self, request: Request, reader: EventReader, left_s: float
    ) -> AsyncGenerator[Event]:
        try:
            async with self._http.stream(**self._remote.request(request, left_s)) as answer:
                if not answer.is_success:
                    raise self._remote.refused(answer, await answer.aread(), request.subject)
                reader.begin(answer.headers)
                async for piece in answer.aiter_bytes():
                    for event in reader.feed(piece):
                        yield event
                reader.end()
        except (*CONNECTION_ERRORS, ValueError) as error:
            raise self._remote.broken(error, request.subject) from error
