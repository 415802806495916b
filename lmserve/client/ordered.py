"""Several requests at once whose results come in order."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

Call = TypeVar("Call")
Result = TypeVar("Result")


def in_order(
    calls: Iterable[Call],
    send: Callable[[Call, threading.Event], Result],
    in_flight: int,
) -> Iterator[Result]:
    """Yields the result of each call.

    Calls are taken in a thread of their own, so that the iterable may wait for what is yielded; the
    next is taken when fewer than `in_flight` results are missing or not yet dealt with. Whoever
    closes this generator leaves what is under way to end by itself.

    Args:
        calls: any number.
        send: makes one, in a thread; the event tells it that nobody waits any more.
        in_flight: calls at once.

    Raises:
        BaseException: whatever `calls` or `send` raised, after the results before it.
    """
    results: SimpleQueue[Future[Result] | None] = SimpleQueue()
    places = threading.Semaphore(in_flight)
    left = threading.Event()

    def feed() -> None:
        try:
            rest = iter(calls)
            while places.acquire() and not left.is_set():
                results.put(pool.submit(send, next(rest), left))
        except StopIteration:
            results.put(None)
        except BaseException as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            results.put(failed)

    pool = ThreadPoolExecutor(in_flight, "lmserve-client")
    # A daemon: the iterable may wait for ever.
    threading.Thread(target=feed, daemon=True).start()
    try:
        while (future := results.get()) is not None:
            yield future.result()
            places.release()
    finally:
        left.set()
        places.release()
        pool.shutdown(wait=False, cancel_futures=True)


async def in_order_async(
    calls: AsyncGenerator[Call],
    send: Callable[[Call], Coroutine[Any, Any, Result]],
    in_flight: int,
) -> AsyncGenerator[Result]:
    """As `in_order`, with tasks instead of threads; closing it cancels what is under way."""
    results: asyncio.Queue[asyncio.Future[Result] | None] = asyncio.Queue()
    places = asyncio.Semaphore(in_flight)

    async def feed() -> None:
        try:
            while await places.acquire():
                results.put_nowait(asyncio.create_task(send(await anext(calls))))
        except StopAsyncIteration:
            results.put_nowait(None)
        except Exception as error:
            failed: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            results.put_nowait(failed)

    feeder = asyncio.create_task(feed())
    try:
        while (future := await results.get()) is not None:
            yield await future
            places.release()
    finally:
        await _ended([feeder])
        await _ended([results.get_nowait() for _ in range(results.qsize())])
        await calls.aclose()


async def as_async(calls: Iterable[Call]) -> AsyncGenerator[Call]:
    """The same calls, for `in_order_async`."""
    for call in calls:
        yield call


async def _ended(futures: Iterable[asyncio.Future[Any] | None]) -> None:
    running = [future for future in futures if future is not None]
    for future in running:
        future.cancel()
    await asyncio.gather(*running, return_exceptions=True)
