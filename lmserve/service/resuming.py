"""How the routes come back to places in texts."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.exceptions import HTTPException

from lmserve.errors import ServiceError, StateError
from lmserve.language_model import LanguageModel
from lmserve.positions import Position, unpack_position
from lmserve.service.state_store import StateStore, is_id

Result = TypeVar("Result")


async def find_position(states: StateStore, model: LanguageModel, identifier: str) -> Position:
    """The place that is kept under an identifier.

    Raises:
        HTTPException: 404 where there is none, 409 where it is another model's, 503 where the store
            doesn't work.
    """
    try:
        # What is no identifier is never part of a key.
        data = await states.find(identifier) if is_id(identifier) else None
    except ServiceError as error:
        raise HTTPException(503, f"{error.problem}; {error.remedy}") from error
    if data is None:
        raise HTTPException(
            404, "There is no such state, or none any more; begin the text again, without a state."
        )
    try:
        return unpack_position(model, data)
    except StateError as error:
        raise HTTPException(
            409, f"The state cannot be used: {error.problem}. {error.remedy}"
        ) from error


async def compute(model: LanguageModel, call: Callable[[], Result], *, long: bool) -> Result:
    """The result of a call of a model, in a worker thread where the event loop would be held up.

    Args:
        model: a word takes microseconds, or milliseconds where it is costly.
        call: what to compute.
        long: whether it takes longer than that with any model.
    """
    if long or model.costly:
        return await asyncio.to_thread(call)
    return call()
