"""From a model folder to a model that answers requests."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lmserve
from lmserve.errors import CorruptModelError
from lmserve.language_model import LanguageModel
from lmserve.manifests import MANIFEST_FILE
from lmserve.ngram.model import NgramModel
from lmserve.positions import beginning, read_text
from lmserve.publishing import heldout
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.fetching import local_folder
from lmserve.publishing.records import Pointer
from lmserve.publishing.remote_models import model_folder
from lmserve.service import tracing
from lmserve.service.cache import CachePolicy, ScoreCache
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer, model_batcher
from lmserve.service.served import ServedModel
from lmserve.service.settings import ServiceSettings

_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOpener:
    """Opens models for a service.

    Attributes:
        cache: of scores, for all models: its keys tell them apart.
        policy: for which models scores are kept.
        metrics: of the service.
        settings: of the service.
        device: where recurrent models compute.
        model_cache: folder for versions that are fetched from elsewhere.
    """

    cache: ScoreCache
    policy: CachePolicy
    metrics: ServiceMetrics
    settings: ServiceSettings
    device: str
    model_cache: Path

    def folder(self, location: str | Path) -> ServedModel:
        """The model in a folder or at a URL, under its name there.

        Raises:
            ModelError: there is none.
            OptionError: this machine lacks the device.
        """
        folder = model_folder(location, self.model_cache)
        model = open_warm(folder, self.device)
        version = model.digest[:_DIGEST_CHARACTERS]
        created_s = (folder / MANIFEST_FILE).stat().st_mtime
        return self._served(
            folder.name, version, model, created_s, (version,), heldout.told_by(folder)
        )

    def version(self, directory: ModelDirectory, name: str, pointer: Pointer) -> ServedModel:
        """The version of a name that its pointer says is current; fetched first, if need be.

        Raises:
            LmserveError: it is not there, is not whole, or cannot be opened on this machine.
        """
        published = directory.require_published(name, pointer.current)
        folder = local_folder(directory, name, pointer.current, published, self.model_cache)
        with tracing.span("model.load", **{"model.name": name, "model.version": pointer.current}):
            model = open_warm(folder, self.device)
        if model.digest != published.digest:
            raise CorruptModelError(
                f"{directory.location}/{name}/{pointer.current} has the digest "
                f"{model.digest[:16]}..., published was {published.digest[:16]}...",
                "Publish the model again as another version.",
            )
        created_s = published.at.timestamp()
        versions, perplexity = tuple(pointer.versions), published.heldout_perplexity
        return self._served(name, pointer.current, model, created_s, versions, perplexity)

    def _served(
        self,
        name: str,
        version: str,
        model: LanguageModel,
        created_s: float,
        versions: tuple[str, ...],
        heldout_perplexity: float | None,
    ) -> ServedModel:
        metrics, settings = self.metrics, self.settings
        scorer = CachedScorer(
            model,
            cache=self.cache if self.policy.keeps(costly=model.costly) else None,
            metrics=metrics,
            thread_bytes=settings.thread_bytes,
            batcher=model_batcher(model, settings.batches, metrics) if model.costly else None,
        )
        return ServedModel(
            name=name,
            version=version,
            model=model,
            scorer=scorer,
            created_s=created_s,
            versions=versions,
            heldout_perplexity=heldout_perplexity,
        )


def import_kinds() -> None:
    """Imports what any kind of model needs, where it is installed.

    PyTorch takes seconds, in which no request would be answered when the first network comes.
    """
    with suppress(ImportError):
        import lmserve.rnn.scoring  # noqa: F401


def open_warm(folder: Path, device: str = "cpu") -> LanguageModel:
    """Opens a model and makes it answer once: first calls compile kernels, and read tables."""
    model = lmserve.load(folder, device=device)
    model.score_texts([b""])
    model.score_words(b"")
    if isinstance(model, NgramModel):
        model.score_buffer(b"\n")
    read_text(model, beginning(model), "a")
    model.next_words(b"", top=1)
    return model
