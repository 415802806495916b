"""Asking a running service for scores, with the standard library alone."""

import contextlib
import http.client
import itertools
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from lmserve.errors import ServiceError

Answer = dict[str, Any]


class Client:
    """A client of one service.

    Args:
        url: of the service, such as "http://127.0.0.1:8000".
        timeout_s: the longest silence of the service that is waited for.
    """

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def score(self, texts: Sequence[str], *, words: bool = False) -> list[Answer]:
        """The scores of some texts: log10_prob, perplexity, tokens, oov, and `words` if asked for.

        Raises:
            ServiceError: the service cannot be reached, or refuses.
        """
        body = json.dumps({"texts": list(texts), "words": words})
        with contextlib.closing(self._connect()) as connection:
            headers = {"Content-Type": "application/json"}
            response = self._send(connection, "POST", "/v1/score", body, headers)
            scores: list[Answer] = json.loads(response.read())["scores"]
            return scores

    def score_stream(
        self, texts: Iterable[str], *, words: bool = False, batch: int = 256
    ) -> Iterator[Answer]:
        """Yields a score for each text, in order, through one request that stays open.

        Texts are taken from the iterable, in a thread of their own, while answers come back.

        Args:
            texts: any number of them; a line break in one counts as a space.
            words: add the score of each word.
            batch: texts sent together. With 1 no text waits for the next: the iterable may take
                each answer into account before it gives the next text.

        Raises:
            ServiceError: the service cannot be reached, refuses, or breaks off.
            Exception: whatever the iterable raised.
        """
        with contextlib.closing(self._connect()) as connection:
            self._begin_stream(connection, f"/v1/score/stream?words={str(words).lower()}")
            failures: list[Exception] = []
            sender = threading.Thread(
                target=_send_lines, args=(connection.sock, texts, batch, failures), daemon=True
            )
            sender.start()
            try:
                response = self._checked(connection.getresponse())
                yield from map(json.loads, response)
            except (OSError, http.client.HTTPException) as error:
                if failures:
                    raise failures[0] from None
                raise self._broken(error) from error

    def metrics(self) -> str:
        """The service's metrics, in Prometheus text format; raises `ServiceError`."""
        with contextlib.closing(self._connect()) as connection:
            return self._send(connection, "GET", "/metrics", None, {}).read().decode()

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ServiceError(f"{self._url!r} is no URL", "Give one like http://127.0.0.1:8000.")
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.netloc, timeout=self._timeout_s)
        return http.client.HTTPConnection(parts.netloc, timeout=self._timeout_s)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        try:
            connection.request(method, path, body and body.encode(), headers)
            return self._checked(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _begin_stream(self, connection: http.client.HTTPConnection, path: str) -> None:
        try:
            connection.putrequest("POST", path)
            connection.putheader("Content-Type", "application/x-ndjson")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
        except OSError as error:
            raise self._broken(error) from error

    def _checked(self, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        if response.status != http.HTTPStatus.OK:
            raise ServiceError(
                f"{self._url} answered {response.status} {response.reason}: "
                f"{response.read(4096).decode(errors='replace')}",
                "The answer says what to change.",
            )
        return response

    def _broken(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"{self._url} does not answer, or broke off: {error!r}",
            "Check that the service runs ('lmserve serve MODEL') and that the URL is its own.",
        )


def _send_lines(
    connection: socket.socket, texts: Iterable[str], batch: int, failures: list[Exception]
) -> None:
    """Writes the body in chunks of `batch` lines; keeps what the iterable raises in `failures`."""
    lines = (json.dumps({"text": text}).encode() + b"\n" for text in texts)
    try:
        while chunk := b"".join(itertools.islice(lines, batch)):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")
    except Exception as error:
        # Raised again by whoever reads the answers.
        failures.append(error)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
