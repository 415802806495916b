"""Dynamic evaluation: a network that goes on learning from the text that it reads.

    theta <- theta - eta g / (sqrt(MS) + epsilon) + min(lambda R, 1) (theta_0 - theta)

(Krause, Kahembwe, Murray and Renals 2018, section 5) after every few words: g is the gradient of
the mean of -ln P of these words, which were scored before it is applied; MS the mean of g^2 in
earlier text; R = sqrt(MS) / mean of sqrt(MS) over all weights; theta_0 the trained weights, towards
which those that change most are drawn back most. The plain rule, stochastic gradient descent, has
neither MS nor R: theta <- theta - eta g + lambda (theta_0 - theta) (ibid., section 4).

Krause et al. compute MS on the training text beforehand. So it is done here where such a text is
given; otherwise MS is the mean over the text read so far, which takes no second pass.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lmserve.errors import OptionError
from lmserve.rnn.corpus import Rows
from lmserve.rnn.network import Network, detached
from lmserve.rnn.reading import Floats, Reading

_MAX_LENGTH = 256


@dataclass(frozen=True, kw_only=True)
class DynamicConfig:
    """Settings of dynamic evaluation.

    Attributes:
        rule: divide gradients by their usual size, or not.
        rate: eta; 0 leaves the network as it is. None is 0.005 with "rms", 1 with "sgd".
        decay: lambda; 0 is not to go back, 1 is to go back all the way.
        epsilon: of "rms".
        length: words between updates, at most 256.

    Raises:
        OptionError: a value is outside its range.
    """

    rule: Literal["rms", "sgd"] = "rms"
    rate: float | None = None
    decay: float = 0.002
    epsilon: float = 0.001
    length: int = 20

    def __post_init__(self) -> None:
        """Checks the values."""
        for name, value, good, remedy in (
            ("rate", self.step_size, self.step_size >= 0, "0 or more, such as 0.005"),
            ("decay", self.decay, 0 <= self.decay <= 1, "0 to 1, such as 0.002"),
            ("epsilon", self.epsilon, self.epsilon > 0, "a little more than 0, such as 0.001"),
            ("length", self.length, 1 <= self.length <= _MAX_LENGTH, f"1 to {_MAX_LENGTH}"),
        ):
            if not good or not math.isfinite(value):
                raise OptionError(f"dynamic-{name} is {value}", f"Give {remedy}.")

    @property
    def step_size(self) -> float:
        """Eta."""
        usual = 0.005 if self.rule == "rms" else 1.0
        return usual if self.rate is None else self.rate


class MeanSquares:
    """The mean of squared gradients, weight by weight: MS."""

    def __init__(self) -> None:
        self.segments = 0
        self._sums: list[Tensor] = []

    def add(self, gradients: list[Tensor]) -> None:
        """Counts the gradients of another segment, those of each parameter."""
        if not self._sums:
            self._sums = [torch.zeros_like(gradient) for gradient in gradients]
        torch._foreach_addcmul_(self._sums, gradients, gradients)
        self.segments += 1

    def roots(self) -> list[Tensor]:
        """Their square roots."""
        return [(part / self.segments).sqrt_() for part in self._sums]


class DynamicReading(Reading):
    """A copy of a network in the middle of a text from which it learns.

    The words of one call of `read` end a segment, even if it is shorter than the others.

    Attributes:
        squares: of gradients, as far as they were counted.

    Args:
        network: in evaluation mode; it stays as it is.
        eos: the row of a sentence's end.
        config: how it learns.
        squares: of gradients in other text, see `mean_squares`; None is to count as one reads.
    """

    def __init__(
        self,
        network: Network,
        eos: int,
        config: DynamicConfig,
        squares: MeanSquares | None = None,
    ) -> None:
        super().__init__(copy.deepcopy(network).requires_grad_(True), eos)
        self.config = config
        self.words_read = 0
        self._weights = list(self.network.parameters())
        self._trained = [weight.detach().clone() for weight in self._weights]
        self._counts = squares is None and config.rule == "rms"
        self.squares = squares or MeanSquares()
        self._roots = [] if squares is None else squares.roots()

    def read(self, rows: Rows) -> Floats:
        """See `Reading`.

        Raises:
            OptionError: the steps were too large, and the network is of no use any more.
        """
        length = self.config.length
        starts = range(0, len(rows), length)
        parts = [super(DynamicReading, self).read(rows[at : at + length]) for at in starts]
        return np.concatenate([np.empty(0), *parts])

    def _read(self, words: Tensor, targets: Tensor) -> Tensor:
        log_probs, gradients = self._learn(words, targets)
        if self._counts:
            self.squares.add(gradients)
            self._roots = self.squares.roots()
        self._update(gradients)
        self.words_read += len(targets)
        return log_probs

    def _learn(self, words: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Ln P of a segment's words, and the gradient of the mean of -ln P."""
        with torch.enable_grad():
            activity, states = self.network.activity(words.unsqueeze(1), self.states)
            log_probs = self.network.output.target_log_probs(activity.whole.squeeze(1), targets)
            loss = -log_probs.mean()
        if not math.isfinite(loss.item()):
            raise OptionError(
                f"dynamic evaluation failed: after {self.words_read:,} words the loss is "
                f"{loss.item()}",
                f"Lower the rate; it is {self.config.step_size:g}.",
            )
        self.states = detached(states)
        found = torch.autograd.grad(loss, self._weights, allow_unused=True)
        gradients = [
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(self._weights, found, strict=True)
        ]
        return log_probs.detach(), gradients

    @torch.no_grad()
    def _update(self, gradients: Sequence[Tensor]) -> None:
        rate, decay = self.config.step_size, self.config.decay
        if self.config.rule == "sgd":
            for weight, trained, gradient in zip(
                self._weights, self._trained, gradients, strict=True
            ):
                weight.lerp_(trained, decay).sub_(gradient, alpha=rate)
            return
        total = math.fsum(root.sum().item() for root in self._roots)
        mean = total / sum(root.numel() for root in self._roots)
        for weight, trained, gradient, root in zip(
            self._weights, self._trained, gradients, self._roots, strict=True
        ):
            back = (root * (decay / mean if mean else 0.0)).clamp_(max=1)
            weight.lerp_(trained, back)
            weight.addcdiv_(gradient, root + self.config.epsilon, value=-rate)


def mean_squares(network: Network, eos: int, rows: Rows, length: int) -> MeanSquares:
    """MS of a text, from gradients of the network as it was trained.

    Args:
        network: in evaluation mode.
        eos: the row of a sentence's end.
        rows: int64 [N], the text.
        length: words of a segment, as later in dynamic evaluation.
    """
    config = DynamicConfig(rate=0, decay=0, length=length)
    reading = DynamicReading(network, eos, config)
    reading.read(rows)
    return reading.squares
