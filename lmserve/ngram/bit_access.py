"""Reading a field of bits with one load, wherever it begins."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _load_bits(_: Any, array: Any, at: Any) -> Any:
    if not isinstance(array, types.Array) or at != types.uint64:
        return None

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8), ir.IntType(64)
        data = context.make_array(array)(context, builder, arguments[0]).data
        index = builder.lshr(arguments[1], word(3))
        address = builder.gep(builder.bitcast(data, byte.as_pointer()), [index])
        loaded = builder.load(builder.bitcast(address, word.as_pointer()))
        loaded.align = 1
        return builder.lshr(loaded, builder.and_(arguments[1], word(7)))

    return types.uint64(array, at), generate


# In a kernel, `load_bits(array, at)` is a uint64 whose low 57 bits are those of the array from bit
# `at`, a uint64, on; 64 bits from the byte of the first must lie inside the array. The array is
# little-endian, as all machines are that Numba compiles for here.
load_bits = cast(Callable[[npt.NDArray[Any], np.uint64], np.uint64], intrinsic(_load_bits))
