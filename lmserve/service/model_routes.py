"""The routes that tell which models there are, in the shape of OpenAI's list of models."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from lmserve.language_model import LanguageModel
from lmserve.mixing.model import Mixture
from lmserve.mixing.word_cache import CacheSettings
from lmserve.ngram.model import NgramModel
from lmserve.service.context import InService, problems
from lmserve.service.served import ServedModel

router = APIRouter()


class ComponentCard(BaseModel):
    """A component of a mixture."""

    kind: Literal["ngram", "rnn"]
    digest: str
    weight: float


class ModelCard(BaseModel):
    """A model; the first four fields are those of OpenAI's."""

    id: Annotated[str, Field(description="Its name, by which requests ask for it.")]
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="When it was published, in seconds since 1970.")]
    owned_by: Literal["lmserve"] = "lmserve"
    kind: Literal["ngram", "rnn", "mixture"]
    version: Annotated[str, Field(description="The version being served.")]
    digest: Annotated[str, Field(description="SHA-256 of all that determines a score.")]
    versions: Annotated[list[str], Field(description="All that were current, oldest first.")]
    vocabulary_size: Annotated[int, Field(description="Words, <unk>, <s> and </s> included.")]
    heldout_perplexity: Annotated[
        float | None, Field(description="Of a text that it was not made from, where it is known.")
    ] = None
    order: Annotated[int | None, Field(description="Words of the longest n-gram.")] = None
    cell: Annotated[str | None, Field(description="The recurrent cell.")] = None
    method: Annotated[str | None, Field(description="How a mixture combines its models.")] = None
    components: Annotated[list[ComponentCard] | None, Field(description="Of a mixture.")] = None
    cache: Annotated[
        CacheSettings | None, Field(description="Of the words just read, in a mixture.")
    ] = None


class FailureCard(BaseModel):
    """What could not be loaded; the former version, where there is one, goes on being served."""

    id: Annotated[str, Field(description="Name of the model; empty for the model directory.")]
    version: Annotated[str, Field(description="Which; empty where it is not known.")]
    problem: str
    attempts: Annotated[int, Field(description="How often it was tried.")]


class ModelList(BaseModel):
    """The models being served."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
    failures: list[FailureCard]


@router.get("/v1/models", summary="The models", response_model_exclude_none=True)
async def models(service: InService) -> ModelList:
    """All models being served, by name, and what could not be loaded."""
    return ModelList(
        data=[_card(model) for model in service.models.all()],
        failures=[
            FailureCard(
                id=one.name, version=one.version, problem=one.problem, attempts=one.attempts
            )
            for one in service.models.failures
        ],
    )


@router.get(
    "/v1/models/{name}",
    summary="One model",
    response_model_exclude_none=True,
    responses={**problems(404, 503)},
)
async def model(name: str, service: InService) -> ModelCard:
    """The version of a model that is being served."""
    return _card(service.models.find(name))


def _card(served: ServedModel) -> ModelCard:
    return ModelCard(
        id=served.name,
        created=int(served.created_s),
        version=served.version,
        digest=served.digest,
        versions=list(served.versions),
        vocabulary_size=len(served.model.vocabulary),
        heldout_perplexity=served.heldout_perplexity,
        **_facts(served.model),
    )


def _facts(model: LanguageModel) -> dict[str, Any]:
    """What a card says of one kind of model."""
    if isinstance(model, NgramModel):
        return {"kind": "ngram", "order": model.manifest.order}
    if isinstance(model, Mixture):
        components = zip(model.components, model.weights.tolist(), strict=True)
        cards = [
            ComponentCard(
                kind="ngram" if isinstance(component, NgramModel) else "rnn",
                digest=component.digest,
                weight=weight,
            )
            for component, weight in components
        ]
        cache = None if model.cache is None else model.cache.settings
        return {"kind": "mixture", "method": model.method, "components": cards, "cache": cache}
    # A recurrent model: only who has one has torch, without which its class cannot be imported.
    network = model.manifest.network  # type: ignore[attr-defined]
    return {"kind": "rnn", "cell": network.cell}
