"""From a network's last layer to probabilities: softmax, adaptive softmax, mixture of softmaxes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmserve.rnn.cross_entropy import IGNORED, cross_entropy

# Of probabilities in memory at a time: 64 MB.
_BLOCK_NUMBERS = 16 << 20


class Output(nn.Module, ABC):
    """P(word | hidden) over V words, for hidden vectors of E numbers.

    Words are numbered by falling frequency; 0 is the most frequent one.
    """

    # That are computed for the probabilities of one word.
    numbers: int
    # Of the softmax's products of matrices while training.
    dtype: torch.dtype = torch.float32

    @abstractmethod
    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The sum of -ln P(target), of the positions whose target is not `IGNORED`.

        Args:
            hidden: [N, E].
            targets: int64 [N].
        """

    @abstractmethod
    def log_probs(self, hidden: Tensor) -> Tensor:
        """Ln P of every word: [N, V] for hidden [N, E]."""

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Ln P(target): [N] for hidden [N, E] and targets, int64 [N], all of them words."""
        block = max(1, _BLOCK_NUMBERS // self.numbers)
        parts = [
            self.log_probs(hidden[start : start + block]).gather(
                1, targets[start : start + block].unsqueeze(1)
            )
            for start in range(0, max(1, len(targets)), block)
        ]
        return torch.cat(parts).squeeze(1)


class FullSoftmax(Output):
    """softmax(W h + b).

    Args:
        weight: [V, E]; the embeddings where these are tied to it (Inan, Khosravi and Socher 2017).
    """

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight
        self.numbers = len(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)))

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Output`."""
        low = self.training and hidden.dtype == torch.float32
        dtype = self.dtype if low else hidden.dtype
        return cross_entropy(hidden, self.weight, self.bias, targets, dtype)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Output`."""
        return torch.log_softmax(functional.linear(hidden, self.weight, self.bias), 1)


class AdaptiveSoftmax(Output):
    """Rare words in clusters of their own, with fewer numbers each (Grave et al. 2017).

    The cost of a word is that of the frequent ones and its cluster's, not of the vocabulary.

    Args:
        size: E.
        words: V.
        cutoffs: the word with which each cluster of rarer ones begins.
    """

    def __init__(self, size: int, words: int, cutoffs: Sequence[int]) -> None:
        super().__init__()
        self.numbers = words
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(size, words, list(cutoffs))

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Output`."""
        counted = targets != IGNORED
        return -self.target_log_probs(hidden[counted], targets[counted]).sum()

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Output`."""
        return self.softmax.log_prob(hidden)

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Output`."""
        if len(targets) == 0:
            return hidden.sum(1)
        log_probs: Tensor = self.softmax(hidden, targets).output
        return log_probs


class MixtureOfSoftmaxes(Output):
    """sum_k pi_k(h) softmax(W tanh(U_k h) + b) (Yang et al. 2018).

    One softmax of log-probabilities has at most the rank of E; a sum of several has not.

    Args:
        weight: [V, E].
        experts: K.
    """

    def __init__(self, weight: nn.Parameter, experts: int) -> None:
        super().__init__()
        size = weight.shape[1]
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(len(weight)))
        self.experts = experts
        self.numbers = experts * len(weight)
        self.prior = nn.Linear(size, experts, bias=False)
        self.latent = nn.Linear(size, experts * size)
        for linear in (self.prior, self.latent):
            nn.init.uniform_(linear.weight, -1 / math.sqrt(size), 1 / math.sqrt(size))

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Output`."""
        counted = targets != IGNORED
        return -self.target_log_probs(hidden[counted], targets[counted]).sum()

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Output`."""
        latent = torch.tanh(self.latent(hidden)).view(len(hidden), self.experts, hidden.shape[1])
        log_probs = torch.log_softmax(functional.linear(latent, self.weight, self.bias), 2)
        prior = torch.log_softmax(self.prior(hidden), 1)
        return torch.logsumexp(log_probs + prior.unsqueeze(2), 1)
