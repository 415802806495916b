"""How many sessions there may be at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.exceptions import HTTPException


@dataclass(slots=True)
class SessionPlaces:
    """The places for sessions in this process.

    Attributes:
        taken: sessions open.
    """

    taken: int = 0

    @contextmanager
    def one(self, places: int) -> Iterator[None]:
        """A place while a `with` block runs; raises `HTTPException` 503 where all are taken."""
        if self.taken >= places:
            raise HTTPException(
                503, f"All {places} places for sessions are taken; try again later."
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
