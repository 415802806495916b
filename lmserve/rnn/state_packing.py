"""The states of a network as bytes: float32, layer after layer, as many after any text."""

import numpy as np
import torch

from lmserve.errors import StateError
from lmserve.rnn.network import Network, States

_PACKED_NUMBER = np.dtype("<f4")


def pack_states(states: States) -> bytes:
    """The numbers of all layers' states, of one text."""
    numbers = torch.cat([part.flatten() for state in states for part in state])
    return numbers.cpu().numpy().astype(_PACKED_NUMBER).tobytes()


def unpack_states(payload: bytes, network: Network) -> States:
    """The states that `pack_states` packed, on the network's device.

    Raises:
        StateError: there are more or fewer numbers than the network's states have, or infinite
            ones.
    """
    shapes = [[part.shape for part in state] for state in network.initial_states(1)]
    sizes = [shape.numel() for state in shapes for shape in state]
    expected_bytes = sum(sizes) * _PACKED_NUMBER.itemsize
    if len(payload) != expected_bytes:
        raise StateError(
            f"a state of {len(payload)} bytes, for a network whose states have {expected_bytes}",
            "Begin the text again.",
        )
    numbers = np.frombuffer(payload, _PACKED_NUMBER)
    if not np.isfinite(numbers).all():
        raise StateError("a state with numbers that are not finite", "Begin the text again.")
    tensor = torch.from_numpy(numbers.astype(np.float32)).to(network.embedding.device)
    parts = iter(torch.split(tensor, sizes))
    return tuple(tuple(next(parts).view(shape) for shape in state) for state in shapes)
