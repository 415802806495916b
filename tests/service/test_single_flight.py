"""What several ask for at once is computed once, and nobody suffers from another's bad luck."""

import asyncio
from collections.abc import Sequence

import pytest

from lmserve.service.single_flight import SingleFlight


class Computing:
    """Computes lengths of texts when it is let to."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.free = asyncio.Event()

    async def __call__(self, items: list[str]) -> Sequence[int]:
        self.asked.append(items)
        await self.free.wait()
        if "bad" in items:
            raise ValueError("bad")
        return [len(item) for item in items]


def wanted(*items: str) -> dict[bytes, str]:
    return {item.encode(): item for item in items}


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_concurrent_requests_share_what_they_have_in_common() -> None:
    async def use() -> None:
        flights: SingleFlight[str, int] = SingleFlight()
        compute = Computing()
        tasks = [
            asyncio.create_task(flights.values(wanted(*items), compute))
            for items in (("a", "bb"), ("bb", "ccc"), ("a",), ())
        ]
        await settle()
        compute.free.set()
        first, second, third, none = await asyncio.gather(*tasks)
        assert first == {b"a": 1, b"bb": 2}
        assert second == {b"bb": 2, b"ccc": 3}
        assert third == {b"a": 1}
        assert none == {}
        assert compute.asked == [["a", "bb"], ["ccc"]]
        # Nothing is kept: that is the cache's part.
        await flights.values(wanted("a"), compute)
        assert compute.asked[2:] == [["a"]]

    asyncio.run(use())


def test_who_waited_for_one_that_left_computes_itself() -> None:
    async def use() -> None:
        flights: SingleFlight[str, int] = SingleFlight()
        compute = Computing()
        leaves = asyncio.create_task(flights.values(wanted("a", "bb"), compute))
        await settle()
        stays = [asyncio.create_task(flights.values(wanted("bb"), compute)) for _ in range(3)]
        await settle()
        leaves.cancel()
        await settle()
        compute.free.set()
        assert await asyncio.gather(*stays) == [{b"bb": 2}] * 3
        assert leaves.cancelled()
        assert compute.asked == [["a", "bb"], ["bb"]]

    asyncio.run(use())


def test_who_leaves_while_waiting_leaves_the_others_alone() -> None:
    async def use() -> None:
        flights: SingleFlight[str, int] = SingleFlight()
        compute = Computing()
        tasks = [asyncio.create_task(flights.values(wanted("a"), compute)) for _ in range(3)]
        await settle()
        tasks[1].cancel()
        await settle()
        compute.free.set()
        assert await tasks[0] == await tasks[2] == {b"a": 1}
        assert compute.asked == [["a"]]

    asyncio.run(use())


def test_an_error_meets_its_request_and_no_other() -> None:
    async def use() -> None:
        flights: SingleFlight[str, int] = SingleFlight()
        compute = Computing()
        fails = asyncio.create_task(flights.values(wanted("bad", "good"), compute))
        await settle()
        other = asyncio.create_task(flights.values(wanted("good"), compute))
        await settle()
        compute.free.set()
        with pytest.raises(ValueError, match="bad"):
            await fails
        assert await other == {b"good": 4}

    asyncio.run(use())
