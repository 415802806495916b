"""Asking a running service for scores, with the standard library alone."""

import contextlib
import http.client
import itertools
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lmserve.errors import OptionError, ServiceError

Answer = dict[str, Any]

# What http.client raises of its own accord; UnicodeError is for host names that cannot be one.
_CONNECTION_ERRORS = (OSError, http.client.HTTPException, UnicodeError)


class Client:
    """A client of one service.

    Args:
        url: of the service, such as "http://127.0.0.1:8000".
        timeout_s: the longest silence of the service that is waited for.

    Raises:
        ServiceError: `url` is none.
    """

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        self._url = url
        self._parts = _split(url)
        self._timeout_s = timeout_s

    def score(self, texts: Sequence[str], *, words: bool = False) -> list[Answer]:
        """The scores of some texts: log10_prob, perplexity, tokens, oov, and `words` if asked for.

        Raises:
            ServiceError: the service cannot be reached, refuses, or breaks off.
        """
        body = json.dumps({"texts": list(texts), "words": words})
        answer = self._parsed(self._request("POST", "/v1/score", body.encode()))
        scores: list[Answer] = answer.get("scores", [])
        if len(scores) != len(texts):
            raise self._broken(f"{len(scores)} answers to {len(texts)} texts")
        return scores

    def score_stream(
        self, texts: Iterable[str], *, words: bool = False, batch: int = 256
    ) -> Iterator[Answer]:
        """Yields a score for each text, in order, through one request that stays open.

        Texts are taken from the iterable, in a thread of their own, while answers come back. Taking
        an answer may take any time; a text that the iterable does not give within the client's
        `timeout_s` looks like silence of the service.

        Args:
            texts: any number of them; a line break in one counts as a space.
            words: add the score of each word.
            batch: texts sent together. With 1 no text waits for the next: the iterable may take
                each answer into account before it gives the next text.

        Raises:
            OptionError: `batch` is below 1.
            ServiceError: the service cannot be reached, refuses the stream or one of its texts, or
                ends without having answered all of them.
            Exception: whatever the iterable raised.
        """
        if batch < 1:
            raise OptionError(f"batch is {batch}", "Give a number of texts of at least 1.")
        with contextlib.closing(self._connect()) as connection:
            self._begin_stream(connection, f"/v1/score/stream?words={str(words).lower()}")
            sender = _Sender(connection.sock, texts, batch)
            sender.start()
            try:
                yield from self._answers(connection, sender)
            finally:
                sender.stop()

    def metrics(self) -> str:
        """The service's metrics, in Prometheus text format; raises `ServiceError`."""
        return self._request("GET", "/metrics").decode()

    def _answers(
        self, connection: http.client.HTTPConnection, sender: "_Sender"
    ) -> Iterator[Answer]:
        answered = 0
        reason = "the stream ended"
        try:
            for line in self._checked(connection.getresponse()):
                if not line.endswith(b"\n"):
                    break  # http.client passes over a connection that ends within a line.
                answer = self._parsed(line)
                if "error" in answer:
                    raise self._refused(answer)
                answered += 1
                yield answer
        except _CONNECTION_ERRORS as error:
            reason = repr(error)
        if sender.failure:
            raise sender.failure
        if answered != sender.sent or not sender.sent_all:
            so_far = "" if sender.sent_all else " sent so far"
            raise self._broken(f"{answered} answers to {sender.sent} texts{so_far}; {reason}")

    def _connect(self) -> http.client.HTTPConnection:
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(self._parts.netloc, timeout=self._timeout_s)
        return http.client.HTTPConnection(self._parts.netloc, timeout=self._timeout_s)

    def _path(self, path: str) -> str:
        return self._parts.path.rstrip("/") + path

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        with contextlib.closing(self._connect()) as connection:
            try:
                connection.request(method, self._path(path), body, headers)
                return self._checked(connection.getresponse()).read()
            except _CONNECTION_ERRORS as error:
                raise self._broken(error) from error

    def _begin_stream(self, connection: http.client.HTTPConnection, path: str) -> None:
        try:
            connection.putrequest("POST", self._path(path))
            connection.putheader("Content-Type", "application/x-ndjson")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
        except _CONNECTION_ERRORS as error:
            raise self._broken(error) from error

    def _checked(self, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        if response.status != http.HTTPStatus.OK:
            raise ServiceError(
                f"{self._url} answered {response.status} {response.reason}: "
                f"{response.read(4096).decode(errors='replace')}",
                "The answer says what to change.",
            )
        return response

    def _parsed(self, body: bytes) -> Answer:
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self._broken(error) from error
        if not isinstance(answer, dict):
            raise self._broken(f"expected an object, not {answer!r}")
        return answer

    def _refused(self, answer: Answer) -> ServiceError:
        return ServiceError(
            f"{self._url} refused text {answer.get('line')}: {answer['error'].get('detail')}",
            "All texts before it are answered; mend this one and begin a new stream with it.",
        )

    def _broken(self, error: object) -> ServiceError:
        return ServiceError(
            f"{self._url} does not answer, or broke off: {error}",
            "Check that the service runs ('lmserve serve MODEL') and that the URL is its own.",
        )


class _Sender(threading.Thread):
    """Writes the body of a stream, in chunks, while others read the answers.

    Args:
        connection: whose timeout is the reader's; here, waiting for room has none.
        texts: one line each.
        batch: lines a chunk.

    Attributes:
        sent: texts whose sending has begun.
        sent_all: whether those are all there are.
        failure: what the iterable raised.
    """

    def __init__(self, connection: socket.socket, texts: Iterable[str], batch: int) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._texts = texts
        self._batch = batch
        self.sent = 0
        self.sent_all = False
        self.failure: Exception | None = None

    def run(self) -> None:
        """Sends all texts, unless the connection ends: who reads the answers learns of that."""
        lines = (json.dumps({"text": text}).encode() + b"\n" for text in self._texts)
        try:
            while chunk := list(itertools.islice(lines, self._batch)):
                self.sent += len(chunk)
                body = b"".join(chunk)
                if not self._write(b"%x\r\n%b\r\n" % (len(body), body)):
                    return
        except Exception as error:
            self.failure = error
            self.stop()
        else:
            self.sent_all = True
            self._write(b"0\r\n\r\n")

    def stop(self) -> None:
        """Ends the connection in both directions, and with it every wait for it."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which first stops to encrypt what the other thread may yet send.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def _write(self, data: bytes) -> bool:
        """Whether the connection took the data, however long that took."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except TimeoutError:
                continue  # The service waits for answers to be taken, as does this sender.
            except OSError:
                return False
        return True


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # Also raised for a port that is no number, or too large.
        usable = False
    if not usable:
        raise ServiceError(f"{url!r} is no URL", "Give one like http://127.0.0.1:8000.")
    return parts
