"""Answers as server-sent events (WHATWG HTML, section 9.2)."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.responses import StreamingResponse

MEDIA_TYPE = "text/event-stream"


def event(value: Any, name: str | None = None) -> bytes:
    """An event whose data is JSON, which never has line breaks; without a name, a `message`."""
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (head, orjson.dumps(value))


def event_stream(events: AsyncIterator[bytes], headers: dict[str, str]) -> StreamingResponse:
    """An answer that ends where its events end, and whose events end where its client goes."""
    # Nobody on the way may keep events back.
    unbuffered = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, headers=headers | unbuffered, media_type=MEDIA_TYPE)
