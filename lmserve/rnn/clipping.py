"""What is done about a gradient before it is applied, and what is noted of it.

Gradients of a recurrent network are products of many matrices: now and then one is enormous, where
the error surface has a wall, and a step along it throws away what was learned (Pascanu, Mikolov and
Bengio 2013, section 3.2).

    by norm    g <- g min(1, c / |g|): the direction stays, the step is bounded by c times the rate
    by value   g_i <- min(max(g_i, -c), c): every weight for itself; the direction changes

It is the *synchronised* gradient that is clipped, by the norm over all parameters. Workers that
clipped their own parts would apply mean(clip(g_w)), which is not clip(mean(g_w)): the more workers,
the less of the gradient would survive, and in another direction. So k workers with a k-th of a
batch each do what one does with all of it.

A gradient that is too small cannot be mended so: a floor on its norm would declare all earlier
words equally important, and a step must be able to shrink.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Clip = Literal["norm", "value", "none"]


@dataclass(frozen=True, slots=True)
class GradientFacts:
    """Of one step.

    Attributes:
        norm: of the whole gradient, before clipping.
        clipped_norm: after it.
        groups: norms before clipping of the groups that parameters belong to.
    """

    norm: float
    clipped_norm: float
    groups: Mapping[str, float]

    @property
    def clipped(self) -> bool:
        """Whether clipping changed it."""
        return self.clipped_norm < self.norm

    @property
    def worst(self) -> str:
        """The group that is not finite, or else has the largest norm."""
        return max(self.groups, key=lambda name: _size(self.groups[name]))


def clip_gradients(network: nn.Module, how: Clip, at: float) -> GradientFacts:
    """Clips the gradients of all parameters in place.

    Args:
        network: after its backward pass.
        how: by norm, by value, or not at all.
        at: the largest norm or value that is let through.
    """
    named = [(name, p.grad) for name, p in network.named_parameters() if p.grad is not None]
    grads = [grad for _, grad in named]
    norms = torch.stack(torch._foreach_norm(grads)).tolist()
    groups: dict[str, float] = {}
    for (name, _), norm in zip(named, norms, strict=True):
        group = group_of(name)
        groups[group] = math.hypot(groups.get(group, 0.0), norm)
    norm = math.hypot(*norms)
    clipped_norm = norm
    if math.isfinite(norm):
        if how == "norm" and norm > at:
            torch._foreach_mul_(grads, at / norm)
            clipped_norm = at
        elif how == "value":
            torch._foreach_clamp_min_(grads, -at)
            torch._foreach_clamp_max_(grads, at)
            clipped_norm = norm_of(grads)
    return GradientFacts(norm, clipped_norm, groups)


def group_of(name: str) -> str:
    """What a parameter belongs to: "embedding", "cells.0", "cells.1", ..., "output"."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "cells" else 1])


def norm_of(tensors: list[Tensor]) -> float:
    """The norm of all numbers of some tensors."""
    return math.hypot(*torch.stack(torch._foreach_norm(tensors)).tolist())


def _size(norm: float) -> float:
    return norm if math.isfinite(norm) else math.inf
