"""What Prometheus learns of a training: `lmserve_training_*`, labelled by run and cell."""

import math
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from lmserve.errors import OptionError
from lmserve.rnn.measuring import perplexity_of

_LABELS = ("run", "cell")


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
        self._perplexity = self._gauge(
            "perplexity", "Of the last steps, or of all valid text.", "split"
        )
        self._tokens = self._gauge("tokens_per_second", "Words learned from, of all workers.")
        self._norm = self._gauge(
            "gradient_norm", "Of the synchronised gradient, mean of the last steps.", "clipping"
        )
        self._largest = self._gauge("gradient_norm_max", "The largest of the last steps.")
        self._group = self._gauge(
            "gradient_group_norm", "Before clipping, by parameter group.", "group"
        )
        self._clipped = self._gauge("clipped_ratio", "Part of the last steps that were clipped.")
        self._rate = self._gauge("learning_rate", "Of the last step.")
        self._done = self._gauge("progress_ratio", "Part of all epochs that is done.")
        self._horizon = self._gauge(
            "memory_horizon_words", "Lag at which a state's gradient is below 1%.", "layer"
        )
        self._steps = self._gauge("steps", "Updates tried.")
        self._skipped = Counter(
            "lmserve_training_skipped_steps",
            "Updates not applied, as the gradient had exploded.",
            _LABELS,
            registry=self.registry,
        )
        self._skipped.labels(*self._labels)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"lmserve_training_{name}", about, (*_LABELS, *labels), registry=self.registry)

    def serve(self, port: int) -> None:
        """Answers Prometheus at http://HOST:port/metrics until the process ends.

        Raises:
            OptionError: the port cannot be had.
        """
        try:
            start_http_server(port, registry=self.registry)
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"metrics port {port} cannot be had: {error}", "Give another --metrics-port."
            ) from error

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
