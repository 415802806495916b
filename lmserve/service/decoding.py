"""Request bodies that come compressed, read in bounded steps: `Content-Encoding`."""

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The most that one step makes of what came: a body grows a thousandfold when it is decompressed.
STEP_BYTES = 1 << 18
# RFC 9659: the window of a zstd body is at most 8 MiB; decoders need memory of that size.
_ZSTD_WINDOW_LOG = 23

# Make what decompresses one member; a body may have several, one after the other.
_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": partial(zlib.decompressobj, 16 + zlib.MAX_WBITS),
    "zstd": partial(
        zstd.ZstdDecompressor,
        options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG},
    ),
}


def decoded(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The body behind a content encoding, as it comes.

    Args:
        pieces: the body as it was sent.
        encoding: the header `Content-Encoding`; "" without one.

    Raises:
        HTTPException: 415 at once for another encoding; 400 by the iterator, for a body that is
            damaged or ends too early.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return pieces
    if name not in _DECODERS:
        raise HTTPException(
            415,
            f"A body of content encoding {encoding!r} cannot be read; send gzip, zstd or none.",
            {"Accept-Encoding": ", ".join(_DECODERS)},
        )
    return _decoded(pieces, name)


async def _decoded(pieces: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    decoder: Any = None
    async for piece in pieces:
        data, full = piece, False
        while data or full:
            decoder = decoder or _DECODERS[name]()
            part = await asyncio.to_thread(_decode, decoder, data, name)
            if part:
                yield part
            # What zlib didn't come to; zstd keeps it to itself.
            data = decoder.unused_data or getattr(decoder, "unconsumed_tail", b"")
            full = len(part) == STEP_BYTES and not decoder.eof
            if decoder.eof:
                decoder = None
    if decoder is not None:
        raise HTTPException(400, f"The {name} body ends too early; send all of it.")


def _decode(decoder: Any, data: bytes, name: str) -> bytes:
    """At most `STEP_BYTES`; with no `data`, more of what came before."""
    try:
        part: bytes = decoder.decompress(data, STEP_BYTES)
    except (zlib.error, zstd.ZstdError) as error:
        raise HTTPException(400, f"The body is no {name}, or damaged: {error}") from error
    return part
