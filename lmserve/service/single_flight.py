"""What several requests ask for at once is computed once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


class SingleFlight(Generic[Item, Value]):
    """Values being computed, by key; for use on one event loop."""

    def __init__(self) -> None:
        self._flights: dict[bytes, asyncio.Future[Value]] = {}

    async def values(
        self,
        items: Mapping[bytes, Item],
        compute: Callable[[list[Item]], Awaitable[Sequence[Value]]],
    ) -> dict[bytes, Value]:
        """The value of each item, computed here or awaited from who computes it already.

        Args:
            items: by key; equal keys have equal values.
            compute: one value an item. Where another's fails or is cancelled, this one is asked.
        """
        others = {key: self._flights[key] for key in items if key in self._flights}
        mine = {key: item for key, item in items.items() if key not in others}
        found = await self._compute(mine, compute) if mine else {}
        if others:
            # Not awaited themselves: who leaves while waiting must not cancel another's flight.
            await asyncio.wait(others.values())
        lost = {}
        for key, flight in others.items():
            if flight.cancelled():
                lost[key] = items[key]
            else:
                found[key] = flight.result()
        return found | await self.values(lost, compute) if lost else found

    async def _compute(
        self,
        items: Mapping[bytes, Item],
        compute: Callable[[list[Item]], Awaitable[Sequence[Value]]],
    ) -> dict[bytes, Value]:
        loop = asyncio.get_running_loop()
        flights = {key: loop.create_future() for key in items}
        self._flights |= flights
        try:
            values = await compute(list(items.values()))
            for flight, value in zip(flights.values(), values, strict=True):
                flight.set_result(value)
            return dict(zip(items, values, strict=True))
        finally:
            for key, flight in flights.items():
                del self._flights[key]
                # Those that wait for it try by themselves.
                flight.cancel()
