"""The loss of a full softmax, -sum ln softmax(W h + b)[target], and its gradient in one pass.

The textbook way keeps a number for every word of the vocabulary at every position, several times
over: logits, log-probabilities, their gradients. Here a block of positions goes from logits to
gradients at once, in memory that does not grow with their number. The gradient of a softmax's loss
is softmax - one_hot, known as soon as the loss is.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# The target of a position that does not count.
IGNORED = -1
# Numbers in the buffer: 32 MB. Smaller ones, that fit into a cache, were measured to be slower: the
# products of matrices want many rows.
_BLOCK_NUMBERS = 8 << 20


def cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
) -> Tensor:
    """The sum of -ln P(target) over the positions that count, of the weights' type.

    Args:
        hidden: [N, E].
        weight: [V, E].
        bias: [V].
        targets: int64 [N]; `IGNORED` where nothing is to be predicted.
        dtype: of the matrix products; with bfloat16 sums and logarithms stay float32.
    """
    loss: Tensor = _CrossEntropy.apply(hidden, weight, bias, targets, dtype)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(Function):
    """See `cross_entropy`."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """The loss."""
        needs_grad = any(ctx.needs_input_grad)
        total = hidden.new_zeros(())
        grad_hidden = torch.empty_like(hidden) if needs_grad else None
        grad_weight = torch.zeros_like(weight) if needs_grad else None
        grad_bias = torch.zeros_like(bias) if needs_grad else None
        low_weight, low_bias, low_hidden = weight.to(dtype), bias.to(dtype), hidden.to(dtype)
        block = max(16, _BLOCK_NUMBERS // len(weight))
        for start in range(0, len(hidden), block):
            part = slice(start, start + block)
            rows, aims = low_hidden[part], targets[part]
            logits = torch.addmm(low_bias, rows, low_weight.T)
            log_probs = torch.log_softmax(logits, 1, dtype=hidden.dtype)
            del logits
            counted = aims != IGNORED
            at = aims.clamp(min=0).unsqueeze(1)
            total -= log_probs.gather(1, at).squeeze(1)[counted].sum()
            if grad_hidden is None or grad_weight is None or grad_bias is None:
                continue
            grad = log_probs.exp_()
            grad.scatter_add_(1, at, torch.full_like(grad[:, :1], -1))
            if not counted.all():
                grad[~counted] = 0
            grad_bias += grad.sum(0)
            low = grad.to(dtype)
            grad_hidden[part] = low @ low_weight
            if dtype == weight.dtype:
                grad_weight.addmm_(low.T, rows)
            else:
                grad_weight += low.T @ rows
        if needs_grad:
            ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of hidden, weight, bias."""
        return *(grad * scale for grad in ctx.saved_tensors), None, None
