"""Long work in worker threads, a bounded slice at a time, so that other requests go on."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

# After so long a slice ends; the next one begins when the event loop has looked at all the others.
SLICE_S = 0.02

Item = TypeVar("Item")


async def in_slices(work: Iterator[Item | None]) -> AsyncIterator[list[Item]]:
    """Yields, slice by slice, what `work` yields: of some slices, nothing.

    Args:
        work: does little between two items; None is no item, but a place where a slice can end.
    """
    ended = False
    while not ended:
        part: tuple[list[Item], bool] = await asyncio.to_thread(_take, work)
        items, ended = part
        yield items


async def all_slices(work: Iterator[Item | None], request: Request) -> list[Item]:
    """Everything that `work` yields, unless its client leaves: then the work ends, too.

    Raises:
        ClientDisconnect: nobody waits for it any more.
    """
    items: list[Item] = []
    async for some in in_slices(work):
        items += some
        if await request.is_disconnected():
            raise ClientDisconnect
    return items


def _take(work: Iterator[Item | None]) -> tuple[list[Item], bool]:
    """The items of the next slice; whether there are no more."""
    ends_s = time.monotonic() + SLICE_S
    items: list[Item] = []
    for item in work:
        if item is not None:
            items.append(item)
        if time.monotonic() >= ends_s:
            return items, False
    return items, True
