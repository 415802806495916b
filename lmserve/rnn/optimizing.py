"""Optimisers, learning rates, and the average of weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from lmserve.rnn.config import TrainingConfig


def make_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """The optimiser, before its first step."""
    decay = config.weight_decay
    if config.optimizer == "adamw":
        return AdamW(network.parameters(), config.learning_rate, weight_decay=decay, fused=True)
    return SGD(network.parameters(), config.learning_rate, weight_decay=decay)


def rate_at(config: TrainingConfig, done: float, step: int, cuts: int) -> float:
    """The learning rate of a step.

    Args:
        config: of the training.
        done: the part of all epochs that is done, 0 to 1.
        step: from 0.
        cuts: how often the validation perplexity did not improve.
    """
    rate = config.learning_rate
    if config.schedule == "linear":
        rate *= 1 - done
    elif config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * done))
    elif config.schedule == "plateau":
        rate *= 0.25**cuts
    return rate * min(1.0, (step + 1) / (config.warmup + 1))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """The mean of a network's weights over some steps (Polyak and Juditsky 1992).

    Attributes:
        weights: by name; None before the first step that counts.
        steps: that count so far.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] | None = None
        self.steps = 0

    @torch.no_grad()
    def add(self, network: nn.Module) -> None:
        """Counts the weights that a network has now."""
        now = {name: p.detach() for name, p in network.named_parameters()}
        self.steps += 1
        if self.weights is None:
            self.weights = {name: tensor.clone() for name, tensor in now.items()}
            return
        torch._foreach_lerp_(
            [self.weights[name] for name in now], list(now.values()), 1 / self.steps
        )


def stopped_improving(perplexities: Sequence[float], patience: int) -> bool:
    """Whether averaging should begin: NT-ASGD's condition (Merity, Keskar and Socher 2018).

    Args:
        perplexities: of the validation text, an epoch each.
        patience: the last one must be worse than the best of all but so many before it.
    """
    before = perplexities[:-1]
    return len(before) > patience and perplexities[-1] > min(before[:-patience])
