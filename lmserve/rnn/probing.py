"""How far back a network remembers: the norm of dh_t / dh_k by the lag t - k.

    dh_t / dh_k = J_t J_(t-1) ... J_(k+1),   J_i = dh_i / dh_(i-1)
    |dh_t / dh_k| <= (beta_W beta_h)^(t-k)    beta_W = |W_hh|, beta_h = max s'

(Pascanu, Mikolov and Bengio 2013, section 2.1; norms are spectral ones, the largest factor by which
a vector's length can grow.) Below 1 by orders of magnitude, what a layer knew at k is forgotten at
t, and no gradient will teach it otherwise.

h stands for the *whole* state of a layer, all its tensors one after the other. An LSTM's memory
flows through c: dh_t / dh_k alone would leave out the path on which nothing but the forget gate
stands. Of a layer upon others the derivative is by its own state; as no lower layer sees that,
nothing is left out.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lmserve.errors import OptionError
from lmserve.rnn.cells import Cell, State
from lmserve.rnn.corpus import Rows
from lmserve.rnn.network import Network

# A state that arrives with less than this is forgotten.
FORGOTTEN = 0.01
# Words read before the first measured one, so that states are not those of a text's beginning.
WARM = 50


@dataclass(frozen=True, kw_only=True)
class LagCurve:
    """How much of a layer's state is still in its state some words later.

    Attributes:
        layer: from 0.
        lags: t - k in words: 0, 1, 2, ...
        norms: spectral norms of dh_t / dh_k at these lags, their geometric mean over the windows.
        means: likewise |dh_t / dh_k|_F / sqrt(n), n numbers in the state: the root of the mean of
            the squared singular values, where `norms` has the largest one.
        bound: (beta_W beta_h)^lag; None for cells with gates, whose derivative has no such bound.
        weight_norm: beta_W, the spectral norm of W_hh (of a cell with gates, of all its gates'
            rows together); None for a cell without a recurrent weight.
        weight_radius: the largest absolute eigenvalue of W_hh; None where it is not square.
    """

    layer: int
    lags: tuple[int, ...]
    norms: tuple[float, ...]
    means: tuple[float, ...]
    bound: tuple[float, ...] | None
    weight_norm: float | None
    weight_radius: float | None

    @property
    def horizon(self) -> int | None:
        """The memory horizon: the smallest lag whose norm is below 1% of that of lag 0, which is 1.

        None if no lag that was probed is.
        """
        for lag, norm in zip(self.lags, self.norms, strict=True):
            if norm < FORGOTTEN:
                return lag
        return None


def probe(network: Network, rows: Rows, *, lags: int = 100, windows: int = 4) -> list[LagCurve]:
    """Measures all layers of a network on a text.

    The Jacobian is exact, and so is its norm: the n rows of the identity are carried back word by
    word, each step one batch of n vector-Jacobian products. In float64, whatever the network
    computes in, as these norms span hundreds of orders of magnitude. A lag of a window costs some
    n G H^2 multiplications for the product and n^3 for the norm, with states of n numbers in cells
    of H units and G gates (200 units of LSTM: 0.05 s on one core).

    Args:
        network: is not changed; nothing of it is left out.
        rows: int64 [N], the text, N >= lags + 50.
        lags: the largest.
        windows: places of the text, evenly spread, whose last word is a t.

    Returns:
        A curve for each layer, the first layer first.

    Raises:
        OptionError: lags or windows are below 1, or the text is too short.
    """
    if lags < 1 or windows < 1:
        raise OptionError(f"{lags} lags in {windows} windows are asked for", "Ask for 1 or more.")
    length = WARM + lags
    if len(rows) < length:
        raise OptionError(
            f"the text has {len(rows):,} tokens, and {lags} lags need {length:,}",
            "Give a longer text, or fewer lags.",
        )
    starts = np.linspace(0, len(rows) - length, windows).astype(np.int64)
    words = np.stack([rows[start : start + length] for start in starts], axis=1)
    embedding = network.embedding.detach()
    hidden = embedding[torch.from_numpy(words).to(embedding.device)].double()
    curves: list[LagCurve] = []
    for layer, cell in enumerate(network.layers):
        cell = copy.deepcopy(cell).double().eval().requires_grad_(False)
        passed = _Pass(cell, hidden)
        logs = torch.stack([passed.log_norms(window, lags) for window in range(windows)])
        # A Jacobian of zeros, as dead rectifiers have it, makes the geometric mean 0.
        norms, means = logs.mean(0).exp().tolist()
        curves.append(_curve(layer, cell, norms, means))
        hidden = passed.outputs
    return curves


class _Pass:
    """A layer's way through some windows of text, word by word, as streaming goes it.

    Args:
        cell: the layer.
        inputs: [T, B, D].
    """

    def __init__(self, cell: Cell, inputs: Tensor) -> None:
        self.cell, self.inputs = cell, inputs
        # Before each step.
        self.states: list[State] = []
        outputs: list[Tensor] = []
        state = cell.initial_state(inputs.shape[1])
        for now in inputs:
            self.states.append(state)
            output, state = cell.step(now, state)
            outputs.append(output)
        self.outputs = torch.stack(outputs)

    def log_norms(self, window: int, lags: int) -> Tensor:
        """Ln of the spectral norm and of the mean norm at lags 0 to `lags`: [2, lags + 1]."""
        size = self.cell.states * self.cell.hidden_size
        jacobian = torch.eye(size, dtype=self.inputs.dtype, device=self.inputs.device)
        found = [_log_norms(jacobian)]
        for step in range(len(self.inputs) - 1, len(self.inputs) - 1 - lags, -1):
            state = tuple(part[window : window + 1] for part in self.states[step])
            inputs = self.inputs[step, window : window + 1]
            jacobian = _carried_back(self.cell, inputs, state, jacobian)
            found.append(_log_norms(jacobian))
        return torch.stack(found, dim=1)


def _carried_back(cell: Cell, inputs: Tensor, state: State, rows: Tensor) -> Tensor:
    """Some gradients by the state after a step, turned into those by the state before it: rows J.

    Args:
        cell: takes the step.
        inputs: [1, D].
        state: before the step, tensors [1, H].
        rows: [N, n], n numbers in the state.

    Returns:
        [N, n].
    """
    before = tuple(part.detach().requires_grad_() for part in state)
    _, after = cell.step(inputs, before)
    gradients = torch.autograd.grad(
        after,
        before,
        [part.unsqueeze(1) for part in rows.chunk(cell.states, 1)],
        is_grads_batched=True,
    )
    return torch.cat([part.squeeze(1) for part in gradients], dim=1)


def _log_norms(jacobian: Tensor) -> Tensor:
    """Ln of the spectral norm and of the root mean square of the singular values: [2]."""
    if not jacobian.isfinite().all():
        return jacobian.new_full((2,), math.inf)
    values: Tensor = torch.linalg.svdvals(jacobian)
    largest = values[0]
    if largest == 0:
        return values.new_full((2,), -math.inf)
    # In units of the largest one: squares of small numbers would be 0.
    mean = largest * (values / largest).square().mean().sqrt()
    return torch.stack((largest, mean)).log()


def _curve(layer: int, cell: Cell, norms: list[float], means: list[float]) -> LagCurve:
    weight = cell.weight_hh
    weight_norm = weight_radius = bound = None
    if weight.numel():
        weight_norm = float(torch.linalg.matrix_norm(weight, 2))
        if weight.shape[0] == weight.shape[1]:
            weight_radius = float(torch.linalg.eigvals(weight).abs().max())
        if cell.steepest is not None:
            bound = tuple(_power(weight_norm * cell.steepest, lag) for lag in range(len(norms)))
    return LagCurve(
        layer=layer,
        lags=tuple(range(len(norms))),
        norms=tuple(norms),
        means=tuple(means),
        bound=bound,
        weight_norm=weight_norm,
        weight_radius=weight_radius,
    )


def _power(base: float, exponent: int) -> float:
    try:
        return base**exponent
    except OverflowError:
        return math.inf
