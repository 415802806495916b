"""Reading a text word by word: a network's state goes on from line to line."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmserve.rnn.corpus import Rows
from lmserve.rnn.network import Network, States

_LENGTH = 256

Floats = npt.NDArray[np.float64]


@contextmanager
def one_thread() -> Iterator[None]:
    """While a `with` block runs, torch uses one thread.

    Of one text, a step is too small to be shared out: threads would wait for one another more than
    they work, and on a busy machine hundreds of times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Reading:
    """A network in the middle of a text.

    Args:
        network: in evaluation mode.
        eos: the row of a sentence's end, after which a text begins.
    """

    def __init__(self, network: Network, eos: int) -> None:
        self.network = network
        self.states: States = network.initial_states(1)
        self.last = eos

    def read(self, rows: Rows) -> Floats:
        """Ln P of each of the next words given all before: float64 [N] for int64 [N]."""
        parts = [np.empty(0, np.float64)]
        device = self.network.embedding.device
        with one_thread():
            for start in range(0, len(rows), _LENGTH):
                targets = rows[start : start + _LENGTH]
                words = np.concatenate(([self.last], targets[:-1]))
                log_probs = self._read(
                    torch.from_numpy(words).to(device), torch.from_numpy(targets).to(device)
                )
                parts.append(log_probs.double().cpu().numpy())
                self.last = int(targets[-1])
        return np.concatenate(parts)

    @torch.inference_mode()
    def _read(self, words: Tensor, targets: Tensor) -> Tensor:
        """Ln P of targets, int64 [T], after words, int64 [T]."""
        activity, self.states = self.network.activity(words.unsqueeze(1), self.states)
        return self.network.output.target_log_probs(activity.whole.squeeze(1), targets)
