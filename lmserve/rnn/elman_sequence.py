"""A whole sequence of the lecture's cell as one operation, with its gradient written out by hand.

Left to itself, autograd records every small operation of every step, and adds up the recurrent
weight's gradient step by step, [H, H] numbers each time. Here the backward pass only walks the
state's gradient back in time; the weight's gradient is then one matrix product over all steps. What
does not depend on the state is computed for all steps at once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Activation = Callable[[Tensor], Tensor]


def elman_sequence(projected: Tensor, first: Tensor, weight: Tensor, activation: str) -> Tensor:
    """h_t = s(p_t + W h_(t-1)): outputs [T, B, H].

    Args:
        projected: [T, B, H], what the inputs add.
        first: [B, H], the state before.
        weight: [H, H].
        activation: one of `ACTIVATIONS`.
    """
    outputs: Tensor = _ElmanSequence.apply(projected, first, weight, activation)  # type: ignore[no-untyped-call]
    return outputs


class _ElmanSequence(Function):
    """See `elman_sequence`."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, first: Tensor, weight: Tensor, name: str) -> Tensor:
        """The outputs."""
        activate, _ = ACTIVATIONS[name]
        states = _with_first(projected.shape[0], first)
        for t, inputs in enumerate(projected):
            activate(torch.addmm(inputs, states[t], weight.T, out=states[t + 1]))
        ctx.save_for_backward(states, weight)
        ctx.activation = name
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of projected, first, weight."""
        states, weight = ctx.saved_tensors
        slopes = ACTIVATIONS[ctx.activation][1](states[1:])
        before = torch.empty_like(slopes)
        carried = torch.zeros_like(states[0])
        for t in range(len(slopes) - 1, -1, -1):
            torch.mul(carried.add_(grad[t]), slopes[t], out=before[t])
            torch.mm(before[t], weight, out=carried)
        return before, carried, _weight_gradient(before, states), None


# By name: the activation, in place, and its derivative as a function of its value.
ACTIVATIONS: dict[str, tuple[Activation, Activation]] = {
    "sigmoid": (torch.sigmoid_, lambda h: h * (1 - h)),
    "tanh": (torch.tanh_, lambda h: 1 - h * h),
    "relu": (torch.relu_, lambda h: (h > 0).to(h.dtype)),
}


def _with_first(length: int, first: Tensor) -> Tensor:
    """Room for `length` states after a first one: [length + 1, B, H]."""
    states = first.new_empty(length + 1, *first.shape)
    states[0] = first
    return states


def _weight_gradient(before: Tensor, states: Tensor) -> Tensor:
    """The sum over all steps of (gradient before the nonlinearity) (state before)^T."""
    return before.flatten(0, 1).T @ states[:-1].flatten(0, 1)
