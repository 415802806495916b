"""The models that a service answers from, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException

from lmserve.language_model import LanguageModel
from lmserve.service.scoring import CachedScorer


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """One version of a model, open; whoever holds it can use it, whatever takes its place.

    Attributes:
        name: by which clients ask for it.
        version: of what has this name.
        model: itself.
        scorer: its scores of whole texts, behind a cache.
    """

    name: str
    version: str
    model: LanguageModel
    scorer: CachedScorer

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score."""
        return self.model.digest


class Catalogue:
    """The models being served.

    Args:
        models: by name; the first is for requests that name none.
    """

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self._models = dict(models)

    def find(self, name: str | None = None) -> ServedModel:
        """The present version of a model; raises `HTTPException` 404 where there is none."""
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise HTTPException(
                404, f"There is no model {name!r}; there are: {', '.join(self._models)}."
            )
        return self._models[name]

    def all(self) -> list[ServedModel]:
        """The present version of every model."""
        return list(self._models.values())
