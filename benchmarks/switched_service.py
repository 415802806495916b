"""`bare_service`, where a request can have nothing counted of it but itself.

LMSERVE_MODEL=my-model python -m uvicorn --factory benchmarks.switched_service:make

A request with the header `X-Uncounted` is answered as if texts, words and bytes were not counted:
what these metrics cost a stream is the difference to one without. Requests come one at a time.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from benchmarks import bare_service
from lmserve.scorer import TextScore, TextScores
from lmserve.service import middleware, request_record
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.traffic import Traffic

UNCOUNTED = "X-Uncounted"


class _Switched(ServiceMetrics):
    """Counts texts and words, or tells them to the request's log line only."""

    counting = True

    def scored(self, scores: Sequence[TextScore]) -> None:
        """As `ServiceMetrics`, or for the record only."""
        if _Switched.counting:
            super().scored(scores)
        else:
            _record(len(scores), sum(score.tokens for score in scores))

    def scored_batch(self, scores: TextScores, perplexity: npt.NDArray[np.float64]) -> None:
        """As `ServiceMetrics`, or for the record only."""
        if _Switched.counting:
            super().scored_batch(scores, perplexity)
        else:
            _record(len(scores), int(scores.tokens.sum()))


def _record(texts: int, words: int) -> None:
    if (record := request_record.current()) is not None:
        record.count(texts, words)


class _Untold:
    """`Traffic` without any."""

    def receiving(self, receive: Receive) -> Receive:
        """As it is."""
        return receive

    def sending(self, send: Send) -> Send:
        """As it is."""
        return send

    def tell(self) -> None:
        """Nothing."""


def _traffic(scope: Scope, metrics: ServiceMetrics) -> Traffic | _Untold:
    """Of a request that begins, which says whether it is counted."""
    _Switched.counting = UNCOUNTED.lower().encode() not in dict(scope["headers"])
    return Traffic(scope, metrics) if _Switched.counting else _Untold()


def make() -> FastAPI:
    """The application of `bare_service`, with the switch."""
    setattr(bare_service, "ServiceMetrics", _Switched)  # noqa: B010 - a module's name is a type
    setattr(middleware, "Traffic", _traffic)  # noqa: B010
    return bare_service.make()
