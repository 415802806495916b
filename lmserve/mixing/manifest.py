"""The manifest of a mixture: all that its folder holds, but for components that were copied in."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lmserve.errors import CorruptModelError
from lmserve.manifests import MANIFEST_FILE, read_manifest
from lmserve.mixing.combining import Method
from lmserve.mixing.word_cache import CacheSettings

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ComponentFacts(BaseModel):
    """One component.

    Attributes:
        path: of its folder, seen from the mixture's.
        digest: its own, by which it is known again.
        weight: in the mixture.
        perplexity: of the development text; None is infinite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    digest: Sha256
    weight: Weight
    perplexity: float | None


class MixtureManifest(BaseModel):
    """Everything about a mixture.

    Attributes:
        method: how components are combined.
        components: what is mixed.
        cache: of the words just read; None is none.
        perplexity: of the development text; None is infinite.
        tokens: of the development text that the weights are of.
        digest: SHA-256 of all that determines a score; where components lie does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mixture"] = "mixture"
    schema_version: Literal[1] = 1
    method: Method
    components: Annotated[list[ComponentFacts], Field(min_length=1)]
    # Left out where there is none, so that versions that know of none can read it.
    cache: CacheSettings | None = Field(None, exclude_if=lambda cache: cache is None)
    perplexity: float | None
    tokens: Annotated[int, Field(ge=0)]
    digest: Sha256

    @model_validator(mode="after")
    def _unchanged(self) -> "MixtureManifest":
        weights = [component.weight for component in self.components]
        digests = [component.digest for component in self.components]
        if mixture_digest(self.method, weights, digests, self.cache) != self.digest:
            raise ValueError("the digest is of other components, weights, another method or cache")
        return self

    def write(self, folder: Path) -> None:
        """Writes the manifest into the mixture's folder."""
        (folder / MANIFEST_FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "MixtureManifest":
        """Reads and checks the manifest of a mixture.

        Raises:
            ModelError: there is none in this folder.
            CorruptModelError: it was changed.
        """
        return cls.parse(read_manifest(folder, writer="lmserve mix"), str(folder))

    @classmethod
    def parse(cls, written: bytes, place: str) -> "MixtureManifest":
        """A manifest as it was written.

        Args:
            written: its bytes.
            place: the mixture's folder, for errors.

        Raises:
            CorruptModelError: it is no mixture's, or was changed.
        """
        try:
            return cls.model_validate_json(written)
        except ValidationError as error:
            raise CorruptModelError(
                f"{place}/{MANIFEST_FILE} is no valid manifest of a mixture: {error}",
                "Mix the models again, or copy the folder again.",
            ) from error


def mixture_digest(
    method: Method, weights: Sequence[float], digests: Sequence[str], cache: CacheSettings | None
) -> str:
    """SHA-256 of all that determines a mixture's scores."""
    facts: dict[str, object] = {
        "method": str(method),
        # To the bit.
        "weights": [float(weight).hex() for weight in weights],
        "components": list(digests),
    }
    if cache is not None:
        shares = (cache.decay, cache.theta, cache.strength)
        facts["cache"] = [cache.window, *(share.hex() for share in shares)]
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
