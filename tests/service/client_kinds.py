"""Both clients behind one interface, for tests of what they have in common."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from lmserve.client import AsyncClient, Client, Retry

KINDS = ("sync", "async")
ONCE = Retry(attempts=1)
# Several attempts without waiting.
AT_ONCE = Retry(attempts=20, first_pause_s=0.0)


def call(kind: str, url: str, method: str, *args: Any, client: Any = None, **options: Any) -> Any:
    """What a method of a client returns; `client` has the client's own options."""
    own = {"retry": ONCE} | (client or {})
    if kind == "sync":
        with Client(url, **own) as one:
            return getattr(one, method)(*args, **options)

    async def in_loop() -> Any:
        async with AsyncClient(url, **own) as one:
            return await getattr(one, method)(*args, **options)

    return asyncio.run(in_loop())


def stream(
    kind: str,
    url: str,
    texts: Iterable[str],
    *,
    client: Any = None,
    answers: list[Any] | None = None,
    **options: Any,
) -> list[Any]:
    """The answers of `score_stream`; in `answers` they are as they come, also if it fails later."""
    own = {"retry": ONCE} | (client or {})
    answers = [] if answers is None else answers
    if kind == "sync":
        with Client(url, **own) as one:
            answers += one.score_stream(texts, **options)
        return answers

    async def texts_in_loop() -> AsyncIterator[str]:
        for text in texts:
            yield text

    async def in_loop() -> None:
        async with AsyncClient(url, **own) as one:
            async for answer in one.score_stream(texts_in_loop(), **options):
                answers.append(answer)

    asyncio.run(in_loop())
    return answers
