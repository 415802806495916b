"""The probe against derivatives that are known, or computed in another way."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmserve.errors import OptionError
from lmserve.rnn.config import CellKind, NetworkConfig
from lmserve.rnn.network import Network
from lmserve.rnn.probing import FORGOTTEN, LagCurve, probe

WORDS = 11
WARM = 50
ELMAN = (CellKind.SIGMOID, CellKind.TANH, CellKind.IRNN)


def make(cell: CellKind, *, size: int = 6, layers: int = 1, spread: float = 1.0) -> Network:
    torch.manual_seed(3)
    network = Network(
        NetworkConfig(cell=cell, embedding_size=size, hidden_size=size, layers=layers), WORDS
    )
    with torch.no_grad():
        # Word vectors as large as trained ones, so that nonlinearities matter.
        network.embedding.uniform_(-spread, spread)
    return network


def text(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, WORDS, length)


def direct(network: Network, rows: np.ndarray, layer: int, lag: int) -> Tensor:
    """dh_t / dh_k of a layer, t the end of the text: autograd through all the steps at once."""
    network = copy.deepcopy(network).double()
    states = network.initial_states(1)
    for row in rows[: len(rows) - lag]:
        _, states = network.step(torch.tensor([row]), states)

    def end(flat: Tensor) -> Tensor:
        state = tuple(part.unsqueeze(0) for part in flat.chunk(network.layers[layer].states))
        now = tuple(state if i == layer else other for i, other in enumerate(states))
        for row in rows[len(rows) - lag :]:
            _, now = network.step(torch.tensor([row]), now)
        return torch.cat([part.squeeze(0) for part in now[layer]])

    begin = torch.cat([part.squeeze(0) for part in states[layer]]).detach()
    jacobian: Tensor = torch.autograd.functional.jacobian(end, begin)
    return jacobian


@pytest.mark.parametrize("cell", CellKind)
@pytest.mark.parametrize("layer", [0, 1])
def test_the_norm_is_that_of_the_derivative_through_all_steps(cell: CellKind, layer: int) -> None:
    network, lags = make(cell, layers=2), 7
    rows = text(WARM + lags)
    curve = probe(network, rows, lags=lags, windows=1)[layer]
    for lag in curve.lags:
        jacobian = direct(network, rows, layer, lag)
        spectral = float(torch.linalg.matrix_norm(jacobian, 2))
        mean = float(torch.linalg.matrix_norm(jacobian)) / len(jacobian) ** 0.5
        assert curve.norms[lag] == pytest.approx(spectral, rel=1e-9)
        assert curve.means[lag] == pytest.approx(mean, rel=1e-9)


def test_windows_are_averaged_by_the_geometric_mean() -> None:
    network, lags = make(CellKind.TANH), 5
    length = WARM + lags
    rows = text(length + 40)
    both = probe(network, rows, lags=lags, windows=2)[0]
    first = probe(network, rows[:length], lags=lags, windows=1)[0]
    last = probe(network, rows[-length:], lags=lags, windows=1)[0]
    assert first.norms[lags] != pytest.approx(last.norms[lags], rel=1e-3)
    expected = np.sqrt(np.array(first.norms) * last.norms)
    np.testing.assert_allclose(both.norms, expected, rtol=1e-9)


def test_active_rectifiers_are_powers_of_the_weight() -> None:
    network, lags = make(CellKind.IRNN), 12
    (cell,) = network.layers
    with torch.no_grad():
        # All that goes in is positive, and so is the weight: no rectifier ever closes.
        network.embedding.uniform_(0.1, 1)
        cell.weight_ih.uniform_(0.1, 1)
        cell.weight_hh.uniform_(0, 0.3)
    (curve,) = probe(network, text(WARM + lags), lags=lags, windows=1)
    weight = cell.weight_hh.detach().double()
    for lag in curve.lags:
        power = torch.linalg.matrix_norm(torch.linalg.matrix_power(weight, lag), 2)
        assert curve.norms[lag] == pytest.approx(float(power), rel=1e-9)


def test_an_irnn_keeps_everything_at_first() -> None:
    network = make(CellKind.IRNN)
    with torch.no_grad():
        network.embedding.uniform_(0.1, 1)
        network.layers[0].weight_ih.uniform_(0.1, 1)
    (curve,) = probe(network, text(200), lags=40)
    np.testing.assert_allclose(curve.norms, 1.0)
    np.testing.assert_allclose(curve.means, 1.0)
    assert curve.bound == (1.0,) * 41
    assert curve.horizon is None


def test_dead_rectifiers_have_forgotten_everything() -> None:
    network = make(CellKind.IRNN)
    with torch.no_grad():
        network.layers[0].bias.fill_(-1e6)
    (curve,) = probe(network, text(200), lags=3)
    assert curve.norms == (1.0, 0.0, 0.0, 0.0)
    assert curve.horizon == 1


@settings(max_examples=15)
@given(
    cell=st.sampled_from(ELMAN),
    scale=st.floats(0.1, 3.0),
    seed=st.integers(0, 2**31),
)
def test_no_norm_of_a_simple_cell_exceeds_the_bound(
    cell: CellKind, scale: float, seed: int
) -> None:
    network = make(cell)
    (layer,) = network.layers
    torch.manual_seed(seed)
    with torch.no_grad():
        layer.weight_hh.normal_(0, scale / 6**0.5)
        # Few inputs, so that activations are near their steepest point and the bound is near.
        network.embedding.mul_(0.01)
    (curve,) = probe(network, text(80, seed), lags=8, windows=2)
    assert curve.bound is not None
    assert curve.bound[0] == curve.norms[0] == 1
    assert layer.steepest is not None
    beta = float(torch.linalg.matrix_norm(layer.weight_hh.detach(), 2)) * layer.steepest
    assert curve.bound[8] == pytest.approx(beta**8, rel=1e-4)
    for norm, bound in zip(curve.norms, curve.bound, strict=True):
        assert norm <= bound * (1 + 1e-9)


def test_sigmoids_vanish_fast() -> None:
    (curve,) = probe(make(CellKind.SIGMOID, size=40), text(300), lags=200)
    assert curve.horizon is not None
    assert curve.horizon < 10
    # Far below what float32 can hold.
    assert 0 < curve.norms[-1] < 1e-60


def test_an_lstms_memory_is_in_c() -> None:
    network = make(CellKind.LSTM)
    (cell,) = network.layers
    with torch.no_grad():
        # Forget gates wide open, and no way from the old state into the gates but through c.
        cell.weight_hh.zero_()
        cell.weight_ih.zero_()
        cell.bias[6:12].fill_(40.0)
    (curve,) = probe(network, text(200), lags=50)
    # dh_t / dh_k is zero here; what is remembered is c, which goes on as it is.
    assert min(curve.norms) >= 1
    assert curve.horizon is None
    assert direct(network, text(60), 0, 5)[:6, :6].abs().max() == 0


@pytest.mark.parametrize("cell", sorted(set(CellKind) - set(ELMAN)))
def test_cells_with_gates_have_no_bound(cell: CellKind) -> None:
    (curve,) = probe(make(cell), text(100), lags=3)
    assert curve.bound is None
    assert curve.weight_radius is None
    assert (curve.weight_norm is None) == (cell == CellKind.MINGRU)


def test_of_a_simple_cell_the_weights_norm_and_radius_are_told() -> None:
    network = make(CellKind.TANH, size=2)
    with torch.no_grad():
        network.layers[0].weight_hh.copy_(torch.tensor([[0.0, 2.0], [0.5, 0.0]]))
    (curve,) = probe(network, text(100), lags=1)
    assert (curve.weight_norm, curve.weight_radius) == (pytest.approx(2), pytest.approx(1))


def curve_of(norms: tuple[float, ...]) -> LagCurve:
    return LagCurve(
        layer=0,
        lags=tuple(range(len(norms))),
        norms=norms,
        means=norms,
        bound=None,
        weight_norm=None,
        weight_radius=None,
    )


@pytest.mark.parametrize(
    ("norms", "horizon"),
    [
        ((1.0, 0.5, FORGOTTEN), None),
        ((1.0, 0.5, 0.0099, 0.001), 2),
        ((1.0, 0.001, 0.5, 0.001), 1),
        ((1.0, 0.0), 1),
    ],
)
def test_the_horizon_is_the_first_lag_below_a_hundredth(
    norms: tuple[float, ...], horizon: int | None
) -> None:
    assert curve_of(norms).horizon == horizon


def test_the_network_is_left_as_it_was() -> None:
    network = make(CellKind.LSTM)
    before = {name: p.clone() for name, p in network.named_parameters()}
    probe(network, text(100), lags=3)
    assert network.training
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize(("length", "lags", "windows"), [(59, 10, 1), (100, 0, 1), (100, 10, 0)])
def test_what_cannot_be_measured_is_refused(length: int, lags: int, windows: int) -> None:
    with pytest.raises(OptionError):
        probe(make(CellKind.TANH), text(length), lags=lags, windows=windows)
