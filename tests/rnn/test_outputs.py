"""Probabilities of words, their loss and its gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lmserve.rnn import cross_entropy as module
from lmserve.rnn.cross_entropy import IGNORED, cross_entropy
from lmserve.rnn.outputs import AdaptiveSoftmax, FullSoftmax, MixtureOfSoftmaxes, Output

WORDS, SIZE = 40, 16


def outputs() -> dict[str, Output]:
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(WORDS, SIZE))
    return {
        "full": FullSoftmax(weight),
        "adaptive": AdaptiveSoftmax(SIZE, WORDS, [5, 12]),
        "mixture": MixtureOfSoftmaxes(weight, 3),
    }


@given(
    targets=st.lists(st.integers(IGNORED, WORDS - 1), min_size=1, max_size=30),
    block=st.integers(1, 2000),
)
def test_the_loss_and_its_gradient_are_those_of_torch(targets: list[int], block: int) -> None:
    torch.manual_seed(len(targets))
    hidden = torch.randn(len(targets), SIZE, dtype=torch.double, requires_grad=True)
    weight = torch.randn(WORDS, SIZE, dtype=torch.double, requires_grad=True)
    bias = torch.randn(WORDS, dtype=torch.double, requires_grad=True)
    aims = torch.tensor(targets)
    before = module._BLOCK_NUMBERS
    module._BLOCK_NUMBERS = block
    try:
        loss = cross_entropy(hidden, weight, bias, aims, torch.double)
        found = torch.autograd.grad(3 * loss, (hidden, weight, bias))
    finally:
        module._BLOCK_NUMBERS = before
    logits = functional.linear(hidden, weight, bias)
    expected = functional.cross_entropy(logits, aims, ignore_index=IGNORED, reduction="sum")
    torch.testing.assert_close(loss, expected)
    for gradient, other in zip(
        found, torch.autograd.grad(3 * expected, (hidden, weight, bias)), strict=True
    ):
        torch.testing.assert_close(gradient, other)


def test_the_loss_has_a_numerical_gradient() -> None:
    torch.manual_seed(0)
    arguments = [torch.randn(*shape).double().requires_grad_() for shape in ((4, 3), (5, 3), (5,))]
    targets = torch.tensor([0, 4, IGNORED, 2])
    assert torch.autograd.gradcheck(
        lambda h, w, b: cross_entropy(h, w, b, targets, torch.double), arguments
    )


def test_products_in_bfloat16_come_close() -> None:
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(50, 16), torch.randn(40, 16), torch.randn(40)
    targets = torch.randint(0, 40, (50,))
    exact = cross_entropy(hidden, weight, bias, targets, torch.float32)
    rounded = cross_entropy(hidden, weight, bias, targets, torch.bfloat16)
    assert exact != rounded
    torch.testing.assert_close(rounded, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("kind", ["full", "adaptive", "mixture"])
def test_probabilities_add_up_to_1_and_make_the_loss(kind: str) -> None:
    output = outputs()[kind]
    hidden = torch.randn(30, SIZE)
    targets = torch.randint(0, WORDS, (30,))
    targets[::7] = IGNORED
    log_probs = output.log_probs(hidden)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(30))
    counted = targets != IGNORED
    expected = log_probs[counted].gather(1, targets[counted].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(output.target_log_probs(hidden[counted], targets[counted]), expected)
    torch.testing.assert_close(output.loss(hidden, targets), -expected.sum())


@pytest.mark.parametrize("kind", ["full", "adaptive", "mixture"])
def test_nothing_to_predict_is_no_loss(kind: str) -> None:
    output = outputs()[kind]
    hidden = torch.randn(3, SIZE, requires_grad=True)
    loss = output.loss(hidden, torch.full((3,), IGNORED))
    assert loss.item() == 0
    loss.backward()
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_a_mixture_is_of_higher_rank_than_its_vectors() -> None:
    hidden = torch.randn(200, SIZE, dtype=torch.double)
    found = outputs()
    for kind, low in (("full", True), ("mixture", False)):
        matrix = found[kind].double().log_probs(hidden)
        # Up to a constant a row, log-probabilities of one softmax have the rank of its vectors.
        rank = torch.linalg.matrix_rank(matrix - matrix[:, :1], rtol=1e-9).item()
        assert (rank <= SIZE + 1) == low
