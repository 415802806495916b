"""The processes that train one network together, each on columns of its own.

They talk through `torch.distributed`, whoever has set it up: Ray Train, torchrun, or a test. A
process that nobody has joined to others is alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lmserve.rnn.network import Network, States

# The others wait while the first one counts words, or probes a wide network.
COLLECTIVE_TIMEOUT_S = 12 * 3600


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def joined(cls, device: torch.device | None = None) -> "Workers":
        """As `torch.distributed` has it; alone, where it is not set up."""
        if device is None:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size(), device)
        return cls(0, 1, device)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def synchronised(self, network: Network) -> nn.Module:
        """The network with gradients that are the mean of all workers' once they are computed."""
        if self.size == 1:
            return network
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            network,
            device_ids=devices,
            gradient_as_bucket_view=True,
            # A batch may hold no word of some cluster of rare ones.
            find_unused_parameters=network.config.output == "adaptive",
        )

    def sum(self, *numbers: float) -> list[float]:
        """The sums of all workers' numbers."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def gather(self, states: States) -> States:
        """All workers' states, column after column."""
        if self.size == 1:
            return states
        return tuple(tuple(self._gather(part) for part in state) for state in states)

    def _gather(self, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Goes on when all have come here."""
        if self.size > 1:
            distributed.barrier()
