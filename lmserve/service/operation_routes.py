"""The routes for whoever operates the service."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from lmserve.service.context import InService
from lmserve.service.schemas import Health

router = APIRouter()


@router.get("/healthz", summary="Whether the service answers")
async def healthz(service: InService) -> Health:
    """Answers as soon as the models are loaded."""
    return Health(model=service.models.find().digest)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_model=None,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: InService) -> Response:
    """Counters of all replicas on the node that answers, in Prometheus text format."""
    return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})
