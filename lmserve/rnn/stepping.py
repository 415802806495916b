"""One update of a network's weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from lmserve.errors import TrainingError
from lmserve.rnn.batches import Batch
from lmserve.rnn.clipping import GradientFacts, clip_gradients
from lmserve.rnn.config import TrainingConfig
from lmserve.rnn.cross_entropy import IGNORED
from lmserve.rnn.network import Activity, Network, States, detached
from lmserve.rnn.optimizing import set_rate
from lmserve.rnn.workers import Workers


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What one step did.

    Attributes:
        loss: the sum of -ln P over this worker's words.
        tokens: these words.
        gradient: of all workers together.
        applied: whether the weights were changed.
    """

    loss: float
    tokens: int
    gradient: GradientFacts
    applied: bool


class Stepper:
    """Updates a network batch by batch, its state going on from each to the next.

    Args:
        network: whose weights change.
        optimizer: of its parameters.
        config: of the training.
        workers: that train it together.
        states: of this worker's columns, before the first batch.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        config: TrainingConfig,
        workers: Workers,
        states: States,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.config = config
        self.workers = workers
        self.states = states
        self.skipped_in_a_row = 0
        network.output.dtype = torch.bfloat16 if config.bfloat16 else torch.float32
        forward: Callable[..., tuple[Tensor, Activity, States]] = workers.synchronised(network)
        self._forward = torch.compile(forward) if config.compiled else forward

    def step(self, batch: Batch, *, tokens: int, rate: float, seed: int) -> StepFacts:
        """Learns from one batch.

        Args:
            batch: this worker's columns of it.
            tokens: targets in the whole batch, of all workers.
            rate: the learning rate.
            seed: of what is left out.

        Raises:
            TrainingError: too many gradients in a row were not finite or too large.
        """
        torch.manual_seed(seed)
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad()
        loss, activity, states = self._forward(batch.words, batch.targets, detached(self.states))
        # The mean over workers of size * sum / tokens is the loss per word of the whole batch.
        objective = loss * (self.workers.size / tokens) + self._penalty(activity)
        objective.backward()  # type: ignore[no-untyped-call]
        gradient = clip_gradients(self.network, self.config.clip, self.config.clip_at)
        # The gradient is the same on all workers, and so is what they make of it.
        applied = math.isfinite(gradient.norm) and gradient.norm <= self.config.explosion
        if applied:
            self.optimizer.step()
            self.states = states
            self.skipped_in_a_row = 0
        else:
            self._skip(states, gradient)
        words = int((batch.targets != IGNORED).sum())
        return StepFacts(loss.item(), words, gradient, applied)

    def _penalty(self, activity: Activity) -> Tensor | float:
        """AR and TAR of Merity, McCann and Socher 2017."""
        config = self.config
        penalty: Tensor | float = 0.0
        if config.activation_penalty > 0:
            penalty = penalty + config.activation_penalty * activity.kept.pow(2).mean()
        if config.slowness_penalty > 0 and len(activity.whole) > 1:
            change = activity.whole[1:] - activity.whole[:-1]
            penalty = penalty + config.slowness_penalty * change.pow(2).mean()
        return penalty

    def _skip(self, states: States, gradient: GradientFacts) -> None:
        finite = all(bool(part.isfinite().all()) for state in states for part in state)
        (broken,) = self.workers.sum(not finite)
        # A state that is no number would make all that follows none.
        self.states = _zeros(states) if broken else states
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= self.config.max_skipped:
            raise TrainingError(
                f"the gradient exploded {self.skipped_in_a_row} steps in a row: its norm is "
                f"{gradient.norm:.3g} (limit {self.config.explosion:g}), that of "
                f"{gradient.worst!r} {gradient.groups[gradient.worst]:.3g}",
                self._remedy(),
            )

    def _remedy(self) -> str:
        config = self.config
        if config.clip == "none":
            return "Clip it (--clip norm), or lower --learning-rate."
        return (
            f"Lower --learning-rate (now {config.learning_rate:g}) or --clip-at (now "
            f"{config.clip_at:g}); a longer --warmup or a smaller --identity-scale may help too."
        )


def _zeros(states: States) -> States:
    return tuple(tuple(torch.zeros_like(part) for part in state) for state in states)
