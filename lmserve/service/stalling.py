"""An end to clients that do not take their answers."""

import asyncio

from starlette.types import Message, Send


class StalledClientError(Exception):
    """A client took nothing of its answer for longer than allowed."""


def unless_stalled(send: Send, max_stall_s: float) -> Send:
    """A `send` that raises `StalledClientError` where the client takes nothing for `max_stall_s`.

    It notices where `send` waits for the client, as real servers' do once their buffers are full.
    """

    async def send_unless_stalled(message: Message) -> None:
        try:
            async with asyncio.timeout(max_stall_s):
                await send(message)
        except TimeoutError as error:
            raise StalledClientError(f"nothing was taken for {max_stall_s:g} s") from error

    return send_unless_stalled
