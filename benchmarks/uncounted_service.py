"""`bare_service` with all counting replaced by nothing: what metrics cost is the difference.

LMSERVE_MODEL=my-model python -m uvicorn --factory benchmarks.uncounted_service:make
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI
from prometheus_client.metrics import MetricWrapperBase
from starlette.types import Receive, Send

from benchmarks import bare_service
from lmserve.scorer import TextScore, TextScores
from lmserve.service import middleware, request_record
from lmserve.service.metrics import ServiceMetrics


class _Nothing:
    """A metric that takes everything and keeps nothing."""

    def labels(self, *values: object) -> "_Nothing":
        """Whatever the labels."""
        del values
        return self

    def inc(self, *values: object) -> None:
        """Nothing."""

    dec = set = observe = observe_many = inc


class _Uncounted(ServiceMetrics):
    """Counts texts and words for the request's log line, as before there were metrics."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in vars(self).items():
            if isinstance(value, MetricWrapperBase):
                setattr(self, name, _Nothing())

    def scored(self, scores: Sequence[TextScore]) -> None:
        """For the record only."""
        self._record(len(scores), sum(score.tokens for score in scores))

    def scored_batch(self, scores: TextScores, perplexity: npt.NDArray[np.float64]) -> None:
        """For the record only."""
        del perplexity
        self._record(len(scores), int(scores.tokens.sum()))

    def _record(self, texts: int, words: int) -> None:
        if (record := request_record.current()) is not None:
            record.count(texts, words)


class _Untold:
    """`Traffic` without any."""

    def __init__(self, *arguments: object) -> None:
        del arguments

    def receiving(self, receive: Receive) -> Receive:
        """As it is."""
        return receive

    def sending(self, send: Send) -> Send:
        """As it is."""
        return send

    def tell(self) -> None:
        """Nothing."""


def make() -> FastAPI:
    """The application of `bare_service`, counting nothing."""
    replaced: dict[Any, tuple[str, type]] = {
        bare_service: ("ServiceMetrics", _Uncounted),
        middleware: ("Traffic", _Untold),
    }
    for module, (name, kind) in replaced.items():
        setattr(module, name, kind)
    return bare_service.make()
