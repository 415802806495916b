"""What Prometheus learns of a training: `lmserve_training_*`, labelled by run and cell."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from lmserve.errors import OptionError
from lmserve.metrics import families
from lmserve.metrics import training_metrics as declared
from lmserve.metrics.reading import NodeCollector, registry_of
from lmserve.metrics.sharing import shared_folder
from lmserve.rnn.measuring import perplexity_of


class TrainingMetrics:
    """The metrics of one training.

    Args:
        run: names it.
        cell: of its network.
    """

    def __init__(self, run: str, cell: str) -> None:
        self.registry = CollectorRegistry()
        self._labels = (run, cell)
        self._skipped_before = 0
        gauge = partial(families.gauge, registry=self.registry)
        self._perplexity = gauge(declared.PERPLEXITY)
        self._tokens = gauge(declared.TOKENS_PER_SECOND)
        self._norm = gauge(declared.GRADIENT_NORM)
        self._largest = gauge(declared.GRADIENT_NORM_MAX)
        self._group = gauge(declared.GRADIENT_GROUP_NORM)
        self._clipped = gauge(declared.CLIPPED)
        self._rate = gauge(declared.LEARNING_RATE)
        self._done = gauge(declared.PROGRESS)
        self._horizon = gauge(declared.MEMORY_HORIZON)
        self._steps = gauge(declared.STEPS)
        self._skipped = families.counter(declared.SKIPPED_STEPS, self.registry)
        self._skipped.labels(*self._labels)

    def serve(self, port: int) -> None:
        """Answers Prometheus at http://HOST:port/metrics until the process ends.

        Where processes share their metrics, it tells those of all of them.

        Raises:
            OptionError: the port cannot be had.
        """
        folder = shared_folder()
        registry = registry_of(NodeCollector(folder)) if folder else self.registry
        try:
            start_http_server(port, registry=registry)
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"metrics port {port} cannot be had: {error}", "Give another --metrics-port."
            ) from error

    def finished(self, valid_perplexity: float) -> None:
        """Takes what the last epoch came to, which no line of the log has."""
        self._perplexity.labels(*self._labels, "valid").set(valid_perplexity)
        self._done.labels(*self._labels).set(1)

    def update(self, log: Mapping[str, Any]) -> None:
        """Takes a line of the log of steps; what is null in it is not a number."""
        labels = self._labels
        loss = _number(log["loss"])
        self._perplexity.labels(*labels, "train").set(
            perplexity_of(loss) if math.isfinite(loss) else loss
        )
        if log["valid_perplexity"] is not None:
            self._perplexity.labels(*labels, "valid").set(log["valid_perplexity"])
        self._norm.labels(*labels, "before").set(_number(log["norm"]))
        self._norm.labels(*labels, "after").set(_number(log["clipped_norm"]))
        self._largest.labels(*labels).set(_number(log["largest_norm"]))
        for group, norm in log["groups"].items():
            self._group.labels(*labels, group).set(_number(norm))
        for layer, horizon in enumerate(log["horizons"]):
            # Farther than was probed.
            words = math.inf if horizon is None else horizon
            self._horizon.labels(*labels, str(layer)).set(words)
        for gauge, name in (
            (self._tokens, "tokens_per_s"),
            (self._clipped, "clipped"),
            (self._rate, "rate"),
            (self._done, "done"),
            (self._steps, "step"),
        ):
            gauge.labels(*labels).set(log[name])
        # A training that goes on from a checkpoint has fewer again.
        self._skipped.labels(*labels).inc(max(0, log["skipped"] - self._skipped_before))
        self._skipped_before = log["skipped"]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
