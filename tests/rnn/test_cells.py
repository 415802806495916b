"""Every cell: a sequence is its steps, forwards and backwards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmserve.rnn.cells import Cell, State
from lmserve.rnn.config import CellKind, NetworkConfig
from lmserve.rnn.linear import scan
from lmserve.rnn.network import Network

KINDS = pytest.mark.parametrize("kind", list(CellKind))


def make(kind: CellKind, inputs: int = 5, size: int = 7, **options: object) -> Cell:
    torch.manual_seed(3)
    config = NetworkConfig.model_validate(
        {"cell": kind, "embedding_size": inputs, "hidden_size": size, "layers": 1, "tied": False}
        | options
    )
    return Network(config, 4).layers[0]


def stepwise(cell: Cell, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for now in inputs:
        output, state = cell.step(now, state)
        outputs.append(output)
    return torch.stack(outputs), state


@KINDS
def test_a_sequence_is_its_steps(kind: CellKind) -> None:
    cell = make(kind)
    inputs = torch.randn(9, 3, 5)
    state = tuple(torch.randn(3, 7) for _ in range(cell.states))
    whole, after = cell.sequence(inputs, state)
    steps, after_steps = stepwise(cell, inputs, state)
    torch.testing.assert_close(whole, steps, atol=1e-5, rtol=0)
    for part, other in zip(after, after_steps, strict=True):
        torch.testing.assert_close(part, other, atol=1e-5, rtol=0)


@KINDS
def test_gradients_of_a_sequence_are_those_of_its_steps(kind: CellKind) -> None:
    cell = make(kind, **({"rank": 2} if kind is CellKind.MOGRIFIER else {})).double()
    inputs = torch.randn(8, 2, 5, dtype=torch.double, requires_grad=True)
    state = tuple(
        torch.randn(2, 7, dtype=torch.double, requires_grad=True) for _ in range(cell.states)
    )
    wanted = torch.randn(8, 2, 7, dtype=torch.double)
    sources = [inputs, *state, *(p for p in cell.parameters() if p.numel())]

    def gradients(outputs: Tensor, after: State) -> list[Tensor]:
        loss = (outputs * wanted).sum() + sum(part.sin().sum() for part in after)
        return list(torch.autograd.grad(loss, sources))

    found = gradients(*cell.sequence(inputs, state))
    expected = gradients(*stepwise(cell, inputs, state))
    for gradient, other in zip(found, expected, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(gradient, other, atol=1e-12, rtol=1e-9)


@KINDS
@given(cut=st.integers(1, 9))
@settings(max_examples=5)
def test_a_sequence_may_be_cut_anywhere(kind: CellKind, cut: int) -> None:
    cell = make(kind)
    torch.manual_seed(5)
    inputs = torch.randn(10, 2, 5)
    whole, after = cell.sequence(inputs, cell.initial_state(2))
    first, state = cell.sequence(inputs[:cut], cell.initial_state(2))
    second, state = cell.sequence(inputs[cut:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(state[0], after[0], atol=1e-5, rtol=0)


def test_the_identity_network_begins_as_the_sum_of_what_it_sees() -> None:
    cell = make(CellKind.IRNN)
    inputs = torch.rand(6, 1, 5)
    with torch.no_grad():
        cell.weight_ih.abs_()
    outputs, _ = cell.sequence(inputs, cell.initial_state(1))
    torch.testing.assert_close(outputs, cell.project(inputs).cumsum(0))
    scaled = make(CellKind.IRNN, identity_scale=0.5)
    torch.testing.assert_close(scaled.weight_hh, 0.5 * torch.eye(7))


def test_recurrent_weights_are_left_out_while_training_only() -> None:
    cell = make(CellKind.LSTM, drop_weights=0.5)
    inputs = torch.randn(3, 2, 5)
    torch.manual_seed(0)
    dropped = cell.recurrent_weight()
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * cell.weight_hh[kept])
    one, _ = cell.sequence(inputs, cell.initial_state(2))
    two, _ = cell.sequence(inputs, cell.initial_state(2))
    assert not torch.equal(one, two)
    cell.eval()
    steps, _ = stepwise(cell, inputs, cell.initial_state(2))
    whole, _ = cell.sequence(inputs, cell.initial_state(2))
    torch.testing.assert_close(whole, steps, atol=1e-5, rtol=0)


@given(length=st.integers(1, 40))
def test_a_scan_is_its_recurrence(length: int) -> None:
    torch.manual_seed(length)
    kept, added = torch.rand(length, 3, dtype=torch.double), torch.randn(length, 3).double()
    state, expected = torch.zeros(3, dtype=torch.double), []
    for a, b in zip(kept, added, strict=True):
        state = a * state + b
        expected.append(state)
    torch.testing.assert_close(scan(kept, added), torch.stack(expected))
