"""Counting the ones of a word, as processors do it in one instruction."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic


def _popcount(_: Any, word: Any) -> Any:
    if word != types.uint64:
        return None

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(word), generate


# In a kernel, the number of ones in a uint64: int64.
popcount = cast(Callable[[np.uint64], int], intrinsic(_popcount))
