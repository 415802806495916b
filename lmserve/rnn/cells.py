"""What every recurrent cell is: a state, a step, and a sequence that equals its steps.

    h_t = f(W_ih x_t + b, h_(t-1); W_hh)

The part of the input is linear in all cells and known for the whole sequence before its first step:
one large matrix product. What follows word by word is the recurrent part only.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

# A tensor [B, H] or more; the first is the cell's output.
State = tuple[Tensor, ...]


class Cell(nn.Module, ABC):
    """One recurrent layer of H units over inputs of D numbers, with G gates.

    Args:
        input_size: D.
        hidden_size: H.
        weight_drop: probability with which, while training, each recurrent weight is left out for
            a whole sequence (Merity, Keskar and Socher 2018, section 2).
    """

    gates: ClassVar[int]
    # How many tensors a state has.
    states: ClassVar[int] = 1
    # The largest derivative that the recurrent nonlinearity can have: beta_h of the lecture's bound
    # (Pascanu, Mikolov and Bengio 2013, section 2.1); None where gates make it depend on the data.
    steepest: float | None = None
    weight_hh: Tensor

    def __init__(self, input_size: int, hidden_size: int, weight_drop: float = 0.0) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.weight_drop = weight_drop
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(self.gates * hidden_size))
        self.reset()

    def reset(self) -> None:
        """Draws new weights, uniform within 1 / sqrt(H)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(self, batch: int) -> State:
        """Zeros: `states` tensors [batch, H]."""
        return tuple(self.bias.new_zeros(batch, self.hidden_size) for _ in range(self.states))

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """One word.

        Args:
            inputs: [B, D].
            state: after the words before.

        Returns:
            The output [B, H]; the state after it.
        """
        return self.advance(self.project(inputs), state, self.weight_hh)

    def sequence(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Many words, the same as their steps.

        Args:
            inputs: [T, B, D].
            state: before the first.

        Returns:
            The outputs [T, B, H]; the state after the last.
        """
        return self.run(self.project(inputs), state, self.recurrent_weight())

    def recurrent_weight(self) -> Tensor:
        """W_hh [G H, H], while training with weights left out."""
        return functional.dropout(self.weight_hh, self.weight_drop, self.training)

    def project(self, inputs: Tensor) -> Tensor:
        """What the inputs [..., D] add to the gates: [..., G H]."""
        return functional.linear(inputs, self.weight_ih, self.bias)

    @abstractmethod
    def advance(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """One step in plain tensor operations, from `project`ed inputs [B, G H]."""

    def run(self, projected: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """A sequence from `project`ed inputs [T, B, G H]; cells with something faster override."""
        outputs: list[Tensor] = []
        for inputs in projected:
            output, state = self.advance(inputs, state, weight)
            outputs.append(output)
        return torch.stack(outputs), state
