"""The routes for whoever operates the service."""

from fastapi import APIRouter, HTTPException, Request, Response

from lmserve.service.context import InService, problems
from lmserve.service.schemas import Health, Readiness
from lmserve.service.shutdown import Shutdown

# Whoever operates the service asks for these while it refuses others.
OPERATION_PATHS = frozenset(("/healthz", "/readyz", "/metrics"))

router = APIRouter()


@router.get("/healthz", summary="Whether the service answers")
async def healthz(service: InService) -> Health:
    """Answers as soon as the models are loaded."""
    return Health(model=service.models.find().digest)


@router.get("/readyz", summary="Whether requests should be sent here", responses={**problems(503)})
async def readyz(request: Request, service: InService) -> Readiness:
    """Answers 200 from when models are loaded until the service stops, 503 otherwise.

    A version that cannot be loaded is named; its former version goes on being served, so that it is
    no reason to send requests elsewhere.
    """
    shutdown: Shutdown = request.app.state.shutdown
    if shutdown.begun:
        raise HTTPException(503, "This replica is shutting down.", {"Retry-After": "1"})
    if unready := service.models.unready:
        raise HTTPException(503, unready, {"Retry-After": "2"})
    return Readiness(
        models=[model.name for model in service.models.all()],
        not_loaded=[f"{one.name}/{one.version}" for one in service.models.failures],
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_model=None,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, service: InService) -> Response:
    """Counters of all replicas on the node that answers, in Prometheus text format."""
    content, media_type = service.metrics.encoded(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": media_type})
