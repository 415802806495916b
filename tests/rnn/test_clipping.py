"""Gradients: clipped as said, measured before and after."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lmserve.rnn.clipping import clip_gradients, group_of
from lmserve.rnn.config import NetworkConfig
from lmserve.rnn.network import Network


def network_with_gradients(scale: float) -> tuple[nn.Module, torch.Tensor]:
    network = Network(NetworkConfig(embedding_size=4, hidden_size=4), 9)
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.grad = scale * torch.randn_like(parameter)
    return network, flat(network)


def flat(network: nn.Module) -> torch.Tensor:
    grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return torch.cat(grads).clone()


@given(scale=st.floats(1e-4, 1e3), at=st.floats(1e-2, 10))
def test_by_norm_the_direction_stays_and_the_norm_is_bounded(scale: float, at: float) -> None:
    network, before = network_with_gradients(scale)
    facts = clip_gradients(network, "norm", at)
    after = flat(network)
    assert facts.norm == pytest.approx(before.norm().item(), rel=1e-4)
    assert facts.clipped_norm == pytest.approx(after.norm().item(), rel=1e-4)
    assert facts.clipped_norm <= at * 1.0001 or not facts.clipped
    assert facts.clipped == (facts.norm > at)
    torch.testing.assert_close(after / after.norm(), before / before.norm(), atol=1e-5, rtol=1e-3)


def test_by_value_every_number_is_bounded() -> None:
    network, before = network_with_gradients(1.0)
    facts = clip_gradients(network, "value", 0.3)
    after = flat(network)
    torch.testing.assert_close(after, before.clamp(-0.3, 0.3))
    assert facts.clipped_norm == pytest.approx(after.norm().item(), rel=1e-5)
    assert facts.clipped


def test_not_at_all() -> None:
    network, before = network_with_gradients(100.0)
    facts = clip_gradients(network, "none", 0.1)
    assert torch.equal(flat(network), before)
    assert facts.norm == facts.clipped_norm
    assert not facts.clipped


def test_groups_add_up_to_the_whole() -> None:
    network, _ = network_with_gradients(2.0)
    facts = clip_gradients(network, "none", 1.0)
    assert set(facts.groups) == {"embedding", "cells.0", "cells.1", "output"}
    assert math.hypot(*facts.groups.values()) == pytest.approx(facts.norm, rel=1e-5)
    assert group_of("cells.11.weight_hh") == "cells.11"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_told_and_left_alone(bad: float) -> None:
    network, _ = network_with_gradients(1.0)
    parameter = dict(network.named_parameters())["cells.1.weight_hh"]
    assert parameter.grad is not None
    parameter.grad[0, 0] = bad
    facts = clip_gradients(network, "norm", 0.1)
    assert not math.isfinite(facts.norm)
    assert facts.worst == "cells.1"
    assert not facts.clipped
