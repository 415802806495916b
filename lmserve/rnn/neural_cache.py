"""The continuous cache: words come again where the network is in a similar state.

    P_cache(w | h_t) ~ sum over cached (h_i, w_i): [w = w_i] exp(theta h_t . h_i)
    P(w | h_t) = (1 - lambda) P_network(w | h_t) + lambda P_cache(w | h_t)

(Grave, Joulin and Usunier 2017, section 3), where h_i is the last layer's output from which word i
was predicted, w_i that word, and the last words of the text are cached. While there is none, P is
the network's. Nothing is learned: a word costs a product of h_t with the cache, [M, E].
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lmserve.errors import OptionError
from lmserve.rnn.network import Network
from lmserve.rnn.reading import Floats, Reading


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Settings of a continuous cache.

    Attributes:
        window: M, words that are remembered.
        theta: how much like h_t an h_i must be: with 0, all words of the cache count alike.
        weight: lambda.

    Raises:
        OptionError: a value is outside its range.
    """

    window: int = 2000
    theta: float = 1.0
    weight: float = 0.1

    def __post_init__(self) -> None:
        """Checks the values."""
        for name, value, good, remedy in (
            ("window", self.window, self.window >= 1, "1 or more, such as 2000"),
            ("theta", self.theta, self.theta >= 0, "0 or more, such as 1"),
            ("weight", self.weight, 0 <= self.weight < 1, "0 or more, below 1, such as 0.1"),
        ):
            if not good or not math.isfinite(value):
                raise OptionError(f"cache-{name} is {value}", f"Give {remedy}.")


class CachedReading(Reading):
    """A network in the middle of a text whose last words it remembers.

    Args:
        network: in evaluation mode.
        eos: the row of a sentence's end.
        config: of the cache.
    """

    def __init__(self, network: Network, eos: int, config: CacheConfig) -> None:
        super().__init__(network, eos)
        self.config = config
        last = self.states[-1][0]
        # Cached h_i, [M, E], and w_i, int64 [M].
        self._keys = last[:0]
        self._words = torch.empty(0, dtype=torch.int64, device=last.device)

    @torch.inference_mode()
    def _read(self, words: Tensor, targets: Tensor) -> Tensor:
        activity, self.states = self.network.activity(words.unsqueeze(1), self.states)
        hidden = activity.whole.squeeze(1)
        before = len(self._keys)
        self._keys = torch.cat((self._keys, hidden))
        self._words = torch.cat((self._words, targets))
        likeness = self._likeness(hidden, before)
        cached = (likeness * (self._words == targets.unsqueeze(1))).sum(1)
        probs = self.network.output.target_log_probs(hidden, targets).double().exp()
        self._keys = self._keys[-self.config.window :]
        self._words = self._words[-self.config.window :]
        return self._mixed(probs, cached, likeness).log()

    @torch.inference_mode()
    def distribution(self) -> Floats:
        """P of every word after what was read, float64 [V] by row; sums to 1."""
        last = torch.tensor([[self.last]], device=self._keys.device)
        activity, _ = self.network.activity(last, self.states)
        hidden = activity.whole.squeeze(1)
        probs = self.network.output.log_probs(hidden).double().exp()
        likeness = self._likeness(hidden, len(self._keys))
        cached = torch.zeros_like(probs).index_add_(1, self._words, likeness)
        mixed: Floats = self._mixed(probs, cached, likeness)[0].cpu().numpy()
        return mixed

    def _likeness(self, hidden: Tensor, before: int) -> Tensor:
        """Softmax over i of theta h_t . h_i, float64 [T, M] for h_t, [T, E]; 0 where no i is.

        Args:
            hidden: of consecutive words.
            before: how many keys there are of words before the first; word t sees `before` + t of
                them, and of these the last `window`.
        """
        places = torch.arange(len(self._keys), device=hidden.device)
        ends = torch.arange(before, before + len(hidden), device=hidden.device).unsqueeze(1)
        seen = (places < ends) & (places >= ends - self.config.window)
        scores = (self.config.theta * (hidden @ self._keys.T)).double()
        return torch.softmax(scores.masked_fill(~seen, -torch.inf), 1).nan_to_num(0.0)

    def _mixed(self, probs: Tensor, cached: Tensor, likeness: Tensor) -> Tensor:
        """The interpolation; where nothing is cached yet, the network's probabilities."""
        weight = self.config.weight * (likeness.sum(1) > 0).double()
        if probs.ndim > 1:
            weight = weight.unsqueeze(1)
        return probs * (1 - weight) + cached * weight
