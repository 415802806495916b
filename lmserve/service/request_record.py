"""What becomes known about a request while it is answered: for its log line, span and limits."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock

from starlette.datastructures import Headers
from starlette.types import Scope


@dataclass(kw_only=True, slots=True)
class RequestRecord:
    """One request.

    Attributes:
        request_id: the identifier that its answer and its log line share.
        address: of the client.
        caller: name of the client's key.
        route: template of its path.
        status: of the answer; 0 before it.
        refused: why the request was not worked on.
        texts: scored for it.
        words: scored for it, sentence ends included.
        trace_id: of the trace that its span is sent with, 32 hexadecimal digits.
        complete: whether the answer was sent to its end.
        counted: whether the metrics know of it.
    """

    request_id: str
    address: str = ""
    caller: str | None = None
    route: str = "other"
    status: int = 0
    refused: str | None = None
    texts: int = 0
    words: int = 0
    trace_id: str | None = None
    complete: bool = False
    counted: bool = False
    _lock: Lock = field(default_factory=Lock, repr=False)

    def count(self, texts: int, words: int) -> None:
        """Adds texts and words that were scored; from any of the threads that do so."""
        with self._lock:
            self.texts += texts
            self.words += words


_current: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def begin(record: RequestRecord) -> None:
    """Makes it the record of the present request: of this task and of those it starts."""
    _current.set(record)


def current() -> RequestRecord | None:
    """The record of the request that is being answered, if there is one."""
    return _current.get()


def of(scope: Scope) -> RequestRecord:
    """The record of the request with this ASGI scope."""
    record: RequestRecord = scope["state"]["record"]
    return record


def client_address(headers: Headers, scope: Scope, forwarded_hops: int) -> str:
    """The address of the client; empty where the server does not know it.

    Args:
        headers: of the request.
        scope: of the request.
        forwarded_hops: proxies that are trusted to have added an entry to X-Forwarded-For. What
            stands before their entries came from the client, which may write anything.
    """
    if forwarded_hops:
        entries = ",".join(headers.getlist("x-forwarded-for")).split(",")
        if len(entries) >= forwarded_hops and (entry := entries[-forwarded_hops].strip()):
            return entry
    client = scope.get("client")
    return str(client[0]) if client else ""
