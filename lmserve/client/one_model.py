"""Scores that come in several answers, all from one model."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lmserve.errors import ServiceError

Score = TypeVar("Score")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored(Generic[Score]):
    """The answer to some texts.

    Attributes:
        digest: of the model.
        scores: in the order of the texts; of those before the first that is refused, if one is.
        refused: which text that is, for errors.
        problem: why, as in problem+json.
    """

    digest: str
    scores: list[Score] = field(repr=False)
    refused: str | None = None
    problem: object = None


class OneModel:
    """Sees to it that one model gives all answers, however many requests they come from."""

    def __init__(self) -> None:
        self._digest: str | None = None

    def checked(self, scored: Scored[Score]) -> list[Score]:
        """The scores; raises `ServiceError` where another model gave those before."""
        self._digest = self._digest or scored.digest
        if scored.digest != self._digest:
            raise ServiceError(
                f"the service changed its model from {self._digest} to {scored.digest}",
                "Scores of two models are not compared: begin again, or with the next text.",
            )
        return scored.scores
