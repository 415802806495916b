"""The application of `lmserve serve` on uvicorn alone: what a replica takes, without Ray Serve.

LMSERVE_MODEL=my-model python -m uvicorn --factory benchmarks.bare_service:make --workers 2
"""

import os
from pathlib import Path

from fastapi import FastAPI

import lmserve
from lmserve.service.app import create_app
from lmserve.service.context import Service
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer, model_batcher
from lmserve.service.served import Catalogue, ServedModel
from lmserve.service.settings import ServiceSettings


def make() -> FastAPI:
    """The application around the model that the environment names, without a cache."""
    folder = Path(os.environ["LMSERVE_MODEL"])
    model = lmserve.load(folder)
    model.score_texts([b""])
    metrics = ServiceMetrics()
    settings = ServiceSettings()
    scorer = CachedScorer(
        model,
        cache=None,
        metrics=metrics,
        thread_bytes=settings.thread_bytes,
        batcher=(
            model_batcher(model, settings.batches, metrics)
            if model.costly and "LMSERVE_UNBATCHED" not in os.environ
            else None
        ),
    )
    served = ServedModel(name=folder.name, version="1", model=model, scorer=scorer)
    service = Service(models=Catalogue({served.name: served}), metrics=metrics, settings=settings)
    return create_app(service)
