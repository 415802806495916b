"""What a model remembers between one word and the next."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmserve.errors import StateError

_PACKED_ROW = np.dtype("<i8")


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


def pack_rows(state: State) -> bytes:
    """A state's rows, 8 bytes each."""
    return np.array(state.rows, _PACKED_ROW).tobytes()


def unpack_rows(payload: bytes, level_rows: Sequence[int]) -> State:
    """The state that `pack_rows` packed: kernels may be given its rows.

    Args:
        payload: from anywhere.
        level_rows: how many rows levels 1, 2, ... have, as far as states reach.

    Raises:
        StateError: there are no such rows.
    """
    count, rest = divmod(len(payload), _PACKED_ROW.itemsize)
    if rest or count > len(level_rows):
        raise StateError(
            f"a state of {len(payload)} bytes, for a model that remembers {len(level_rows)} words",
            "Begin the text again.",
        )
    rows = tuple(np.frombuffer(payload, _PACKED_ROW).tolist())
    for level, (row, end) in enumerate(zip(rows, level_rows, strict=False), 1):
        if not 0 <= row < end:
            raise StateError(f"a state with row {row} of level {level}", "Begin the text again.")
    return State(rows)
