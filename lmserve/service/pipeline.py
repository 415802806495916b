"""Blocks of a stream worked on side by side, their results in order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

Block = TypeVar("Block")
Result = TypeVar("Result")


async def in_order(
    blocks: AsyncGenerator[Block, None],
    work: Callable[[Block], Awaitable[Result]],
    *,
    limit: int,
) -> AsyncGenerator[Result, None]:
    """What `work` makes of each block, in the order of the blocks.

    A block is asked for while others are worked on and written, as long as there are fewer than
    `limit`: whoever doesn't take the results is not read from. An exception of `blocks` comes after
    the results of all blocks before it.

    Args:
        blocks: asked for one at a time, and closed at the end.
        work: begins at once for every block, wherever the ones before are.
        limit: blocks in memory, the one whose result is being written included.
    """
    places = asyncio.Semaphore(limit)
    results: asyncio.Queue[asyncio.Future[Result] | None] = asyncio.Queue()

    async def start() -> None:
        try:
            async with aclosing(blocks):
                await places.acquire()
                async for block in blocks:
                    results.put_nowait(_watched(asyncio.ensure_future(work(block))))
                    await places.acquire()
        finally:
            results.put_nowait(None)

    starter = _watched(asyncio.ensure_future(start()))
    try:
        while (result := await results.get()) is not None:
            yield await result
            places.release()
        await starter
    finally:
        starter.cancel()
        while not results.empty():
            if left := results.get_nowait():
                left.cancel()


async def gathered(pieces: AsyncIterator[bytes], max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Pieces, those joined that are there already when one is asked for.

    Args:
        pieces: of any size.
        max_bytes: as soon as this many are held, they are given.
    """
    held = bytearray()
    while True:
        coming = _watched(asyncio.ensure_future(anext(pieces, None)))
        try:
            await asyncio.sleep(0)  # Lets a piece come that needs no waiting.
            if held and (len(held) >= max_bytes or not coming.done()):
                yield bytes(held)
                held.clear()
            piece = await coming
        finally:
            coming.cancel()
        if piece is None:
            break
        held += piece
    if held:
        yield bytes(held)


def _watched(future: asyncio.Future[Result]) -> asyncio.Future[Result]:
    """Its exception is nobody's concern once nobody waits for it: the client left."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
