"""Sessions: words go to the service as they come, and scores come back at once."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Self

import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import InvalidStatus, WebSocketException

from lmserve.client.calls import Answer
from lmserve.client.dialogue import Dialogue
from lmserve.client.remote import Remote
from lmserve.client.retrying import Attempts
from lmserve.errors import ServiceError

_BREAKS = (WebSocketException, OSError)
# The longest wait for the end of a connection that is given up.
_CLOSE_S = 2.0
_SUBJECT = "a session"


class Session:
    """A text in the making. Where the connection breaks, it goes on from the last state.

    The methods that send return an answer for each word that they complete: `word`, `log10_prob`,
    `surprise` in bits, `ngram_length`, `oov`, the sums so far (`words`, `total_log10_prob`,
    `perplexity`), `state` and, where asked for, `next`. They raise `ServiceError` where the service
    refuses or stays away; in the latter case the next call sends what has no answer, and returns
    the answers to it, too.

    Args:
        remote: the service.
        dialogue: what is said.
    """

    def __init__(self, remote: Remote, dialogue: Dialogue) -> None:
        self._remote = remote
        self._dialogue = dialogue
        self._open = ExitStack()
        self._connection: websockets.sync.client.ClientConnection | None = None

    @property
    def ready(self) -> Answer:
        """The beginning: `model`, `version`, `digest`, `state`, `words` and `log10_prob` so far."""
        return self._dialogue.ready

    @property
    def state(self) -> str | None:
        """ID of the state after the last word, from which another session can go on."""
        return self._dialogue.state

    def send(self, text: str) -> list[Answer]:
        """Sends characters; a word is complete at white space, the unfinished rest is held."""
        self._dialogue.say(text)
        return self._exchange()

    def send_words(self, words: Iterable[str]) -> list[Answer]:
        """Sends whole words, after the one that is held, if any."""
        self._dialogue.say_words(words)
        return self._exchange()

    def end(self) -> list[Answer]:
        """Completes the word that is held, and ends the sentence; a new one begins."""
        self._dialogue.say_end()
        return self._exchange()

    def close(self) -> None:
        """Closes the connection."""
        self._connection = None
        self._open.close()

    def __enter__(self) -> Self:
        self._exchange()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _exchange(self) -> list[Answer]:
        attempts = Attempts(self._remote.retry)
        while True:
            try:
                self._talk()
            except (*_BREAKS, ServiceError) as error:
                self.close()
                time.sleep(attempts.pause_s(_as_service_error(self._remote, error)))
            else:
                return self._dialogue.answers()

    def _talk(self) -> None:
        """Says what is to be said, and hears the answers."""
        if self._connection is None:
            options = _connect_options(self._remote, self._dialogue.url)
            connection = websockets.sync.client.connect(**options)
            self._connection = self._open.enter_context(connection)
            self._dialogue.opened(self._connection.recv(self._remote.timeout_s))
        while True:
            while self._dialogue.waits:
                self._dialogue.take(self._connection.recv(self._remote.timeout_s))
            message = self._dialogue.next_message()
            if message is None:
                return
            self._connection.send(message)


class AsyncSession:
    """`Session` for an event loop.

    Args:
        remote: the service.
        dialogue: what is said.
    """

    def __init__(self, remote: Remote, dialogue: Dialogue) -> None:
        self._remote = remote
        self._dialogue = dialogue
        self._open = AsyncExitStack()
        self._connection: websockets.asyncio.client.ClientConnection | None = None

    @property
    def ready(self) -> Answer:
        """See `Session.ready`."""
        return self._dialogue.ready

    @property
    def state(self) -> str | None:
        """See `Session.state`."""
        return self._dialogue.state

    async def send(self, text: str) -> list[Answer]:
        """See `Session.send`."""
        self._dialogue.say(text)
        return await self._exchange()

    async def send_words(self, words: Iterable[str]) -> list[Answer]:
        """See `Session.send_words`."""
        self._dialogue.say_words(words)
        return await self._exchange()

    async def end(self) -> list[Answer]:
        """See `Session.end`."""
        self._dialogue.say_end()
        return await self._exchange()

    async def close(self) -> None:
        """Closes the connection."""
        self._connection = None
        await self._open.aclose()

    async def __aenter__(self) -> Self:
        await self._exchange()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _exchange(self) -> list[Answer]:
        attempts = Attempts(self._remote.retry)
        while True:
            try:
                await self._talk()
            except (*_BREAKS, ServiceError) as error:
                await self.close()
                await asyncio.sleep(attempts.pause_s(_as_service_error(self._remote, error)))
            else:
                return self._dialogue.answers()

    async def _talk(self) -> None:
        """Says what is to be said, and hears the answers."""
        if self._connection is None:
            options = _connect_options(self._remote, self._dialogue.url)
            connection = websockets.asyncio.client.connect(**options)
            self._connection = await self._open.enter_async_context(connection)
            self._dialogue.opened(await self._hear(self._connection))
        while True:
            while self._dialogue.waits:
                self._dialogue.take(await self._hear(self._connection))
            message = self._dialogue.next_message()
            if message is None:
                return
            await self._connection.send(message)

    async def _hear(self, connection: websockets.asyncio.client.ClientConnection) -> str | bytes:
        async with asyncio.timeout(self._remote.timeout_s):
            return await connection.recv()


def _connect_options(remote: Remote, url: str) -> dict[str, Any]:
    return {
        "uri": url,
        "additional_headers": remote.headers,
        "ssl": remote.tls if url.startswith("wss:") else None,
        "open_timeout": remote.timeout_s,
        "close_timeout": min(remote.timeout_s, _CLOSE_S),
        "compression": None,  # Messages are short, and are waited for.
    }


def _as_service_error(remote: Remote, error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, InvalidStatus):
        return remote.refused(error.response, bytes(error.response.body), _SUBJECT)
    return remote.broken(error, _SUBJECT)
