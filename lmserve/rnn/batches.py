"""A text as batches that go on in time: columns read side by side, cut into short sequences.

Column c of B is the c-th part of the text. A batch is the next few words of every column, and the
state after it is the next batch's first: the network reads each column from end to end, though
gradients reach back through one batch only (truncated back-propagation through time).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lmserve.rnn.corpus import Rows
from lmserve.rnn.cross_entropy import IGNORED

_SHORTEST = 5


@dataclass(frozen=True, slots=True)
class Batch:
    """Some steps of all columns.

    Attributes:
        words: int64 [T, B], what is seen.
        targets: int64 [T, B], what is to be predicted: the words one step on; `IGNORED` after the
            end of the text.
        start: steps before it.
    """

    words: Tensor
    targets: Tensor
    start: int

    @property
    def length(self) -> int:
        """T."""
        return len(self.words)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(self.words.to(device), self.targets.to(device), self.start)


class Columns:
    """A text in B columns.

    Every word is a target exactly once. The first word of the text is predicted from a sentence's
    end; the first of another column from the last of the column before.

    Args:
        rows: int64 [N], the text.
        eos: the row of a sentence's end.
        batch_size: B.
    """

    def __init__(self, rows: Rows, eos: int, batch_size: int) -> None:
        self._rows = rows
        self._eos = eos
        self.batch_size = batch_size
        self.tokens = len(rows)
        # The last columns may be short, or empty if the text is shorter than B words.
        self._steps = -(-len(rows) // batch_size)

    def __len__(self) -> int:
        """Steps of a column."""
        return self._steps

    def part(self, rank: int, workers: int) -> slice:
        """The columns that one of several workers reads."""
        size = self.batch_size
        return slice(size * rank // workers, size * (rank + 1) // workers)

    def targets_in(self, start: int, length: int) -> int:
        """How many words some steps of all columns predict."""
        first = np.arange(self.batch_size) * self._steps + start
        last = first + min(length, self._steps - start)
        return int((np.minimum(last, self.tokens) - np.minimum(first, self.tokens)).sum())

    def batch(self, start: int, length: int, columns: slice = slice(None)) -> Batch:
        """The steps from `start` on, `length` of them or what is left."""
        steps = np.arange(start, min(start + length, self._steps))
        # Places in the text, [T, B]; nothing else of it is looked at, however long it is.
        places = steps[:, np.newaxis] + np.arange(self.batch_size)[columns] * self._steps
        within = np.minimum(places, self.tokens - 1)
        targets = np.where(places < self.tokens, self._rows[within], IGNORED)
        words = np.where(places > 0, self._rows[np.maximum(within - 1, 0)], self._eos)
        return Batch(torch.from_numpy(words), torch.from_numpy(targets), start)


def lengths(steps: int, length: int, seed: int | None = None) -> Iterator[int]:
    """Lengths of consecutive batches, which add up to `steps`.

    Args:
        steps: of a column.
        length: of a batch.
        seed: draw lengths about `length`, and about half of it one time in twenty, as Merity,
            Keskar and Socher 2018 do, so that batches end elsewhere in every epoch; None means
            always `length`.
    """
    generator = np.random.default_rng(seed)
    while steps > 0:
        now = length
        if seed is not None:
            mean = length if generator.random() < 0.95 else length / 2
            now = max(_SHORTEST, round(generator.normal(mean, 5)))
        now = min(now, steps)
        yield now
        steps -= now
