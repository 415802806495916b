"""log10 in plain arithmetic: the same bits on every processor, and several values at a time.

Libraries pick their logarithm by processor, and the last bit of a model must not depend on which
machine computed it. Additions and products of float64 are the same everywhere.
"""

from decimal import Decimal

import numpy as np
import numpy.typing as npt
from numba import njit

_LOG10_2 = 0.30102999566398119521
_LOG10_E = 0.43429448190325182765
_FRACTION_BITS = np.int64(52)
_FRACTION = (np.int64(1) << _FRACTION_BITS) - np.int64(1)
_BIAS = np.int64(1023)
# c = 1, 1 + 1/128, ..., 2; their logarithms by decimal arithmetic, which is exact anywhere.
_STEP_BITS = 7
_STEPS = 1 << _STEP_BITS
_INVERSES = np.array([_STEPS / (_STEPS + i) for i in range(_STEPS + 1)])
_LOGARITHMS = np.array([float((Decimal(_STEPS + i) / _STEPS).log10()) for i in range(_STEPS + 1)])
_STEP_SHIFT = _FRACTION_BITS - np.int64(_STEP_BITS)
_HALF_STEP = np.int64(1) << (_STEP_SHIFT - np.int64(1))


@njit(cache=True, nogil=True)
def log10_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """log10 of each value, rounded to float32; minus infinity for 0.

    With v = 2^e m, c the step nearest to m and r = m / c - 1, log10 v = e log10 2 + log10 c +
    log10(1 + r), and ln(1 + r) = r - r^2/2 + r^3/3 - ...; |r| < 1/256, and five terms leave an
    error below 1e-15. Of 1 the result is exactly 0.

    Args:
        values: float64 [N], normal or 0, none negative.
    """
    result = np.empty(len(values), np.float32)
    bits = values.view(np.int64)
    for i in range(len(values)):
        exponent = (bits[i] >> _FRACTION_BITS) - _BIAS
        fraction = bits[i] & _FRACTION
        step = (fraction + _HALF_STEP) >> _STEP_SHIFT
        r = (1.0 + fraction * 2.0**-52) * _INVERSES[step] - 1.0
        series = r * (1.0 / 5.0) - 1.0 / 4.0
        series = series * r + 1.0 / 3.0
        series = series * r - 1.0 / 2.0
        series = series * r + 1.0
        log10 = exponent * _LOG10_2 + _LOGARITHMS[step] + r * series * _LOG10_E
        result[i] = log10 if values[i] > 0.0 else -np.inf
    return result
