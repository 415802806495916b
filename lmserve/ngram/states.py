"""What a model remembers between one word and the next."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class State:
    """What a model remembers of the words before: states that are equal lead to equal scores.

    Attributes:
        rows: in levels 1, 2, ... the row of the last 1, 2, ... words, as far as they can matter.
    """

    rows: tuple[int, ...] = ()

    def as_array(self) -> npt.NDArray[np.int64]:
        """The rows, int64 [K]."""
        return np.array(self.rows, np.int64)
