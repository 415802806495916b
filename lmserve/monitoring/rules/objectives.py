"""What a service promises, and where what is odd begins: the numbers in the rules."""

from dataclasses import dataclass

from lmserve.errors import OptionError
from lmserve.metrics.service_metrics import REQUEST_DURATION


@dataclass(frozen=True, kw_only=True, slots=True)
class Objectives:
    """Numbers that a service may want otherwise.

    Attributes:
        failing: part of requests that may fail.
        slow: part of the requests to /v1/score that may take longer than `slow_s`.
        slow_s: one of the bounds of the histogram of durations.
        restarts: starts of replicas in half an hour beyond one of each.
        drift: perplexity of what is scored, against that of held-out text or of the past.
        oov: part of words unknown to the model.
        least_words: fewer scored in an hour say little about the text.
        skipped_steps: updates of a training in 10 minutes that may be left out.
        divergence: a training's perplexity against the best of an hour.
        horizon_words: a network whose gradients reach less far learns no more than n-grams do.
        free: part of a disk that should be free.

    Raises:
        OptionError: `slow_s` is no bound of the histogram.
    """

    failing: float = 0.001
    slow: float = 0.01
    slow_s: float = 0.5
    restarts: int = 3
    drift: float = 2.0
    oov: float = 0.2
    least_words: int = 1000
    skipped_steps: int = 3
    divergence: float = 2.0
    horizon_words: int = 8
    free: float = 0.1

    def __post_init__(self) -> None:
        bounds = REQUEST_DURATION.buckets
        if self.slow_s not in bounds:
            raise OptionError(
                f"slow_s is {self.slow_s:g}, which is no bound of {REQUEST_DURATION.name}",
                f"Give one of {', '.join(f'{bound:g}' for bound in bounds)}.",
            )
