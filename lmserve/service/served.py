"""The models that a service answers from, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from starlette.exceptions import HTTPException

from lmserve.language_model import LanguageModel
from lmserve.service.scoring import CachedScorer

_RETRY_AFTER_S = "2"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """One version of a model, open; whoever holds it can use it, whatever takes its place.

    Attributes:
        name: by which clients ask for it.
        version: of what has this name.
        model: itself.
        scorer: its scores of whole texts, behind a cache.
        created_s: when it was published, in seconds since 1970.
        versions: all versions of this name, oldest first, as far as they are known.
        heldout_perplexity: what it came to when it was published, or made, if that is known.
    """

    name: str
    version: str
    model: LanguageModel
    scorer: CachedScorer
    created_s: float = 0.0
    versions: tuple[str, ...] = ()
    heldout_perplexity: float | None = None

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score."""
        return self.model.digest


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFailure:
    """What could not be loaded, while what there was goes on being served.

    Attributes:
        name: of the model; empty where the model directory itself cannot be read.
        version: which version; empty where it is not known.
        problem: what is wrong.
        attempts: how often it was tried.
    """

    name: str
    version: str
    problem: str
    attempts: int


class Catalogue:
    """The models being served.

    Args:
        models: by name; the first is for requests that name none.
    """

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        # Replaced as a whole, never changed: routes read them while others are loaded in a thread.
        self._models = dict(models)
        self._failures: dict[str, LoadFailure] = {}
        self._closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._closing = True

    @property
    def failures(self) -> list[LoadFailure]:
        """What could not be loaded, and has not been since."""
        return list(self._failures.values())

    @property
    def unready(self) -> str | None:
        """Why no requests should be sent here; None where they should."""
        if self._closing:
            return "The service is stopping."
        return None if self._models else "No model is loaded."

    def find(self, name: str | None = None) -> ServedModel:
        """The present version of a model.

        Raises:
            HTTPException: 404 where there is none of this name, 503 where there is none at all.
        """
        models = self._models
        if not models:
            raise HTTPException(503, "No model is loaded.", {"Retry-After": _RETRY_AFTER_S})
        if name is None:
            return next(iter(models.values()))
        if name not in models:
            raise HTTPException(404, f"There is no model {name!r}; there are: {', '.join(models)}.")
        return models[name]

    def all(self) -> list[ServedModel]:
        """The present version of every model."""
        return list(self._models.values())
