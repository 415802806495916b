"""Discounts of modified Kneser-Ney smoothing, from the counts of counts of each order."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmserve.errors import DiscountError


class Discounts(NamedTuple):
    """What is taken off an adjusted count of 1, of 2, and of 3 or more."""

    one: float
    two: float
    three_plus: float


NO_DISCOUNTS = Discounts(0.0, 0.0, 0.0)
# What KenLM falls back to, too.
FALLBACK_DISCOUNTS = Discounts(0.5, 1.0, 1.5)


def modified_kneser_ney(
    counts_of_counts: npt.NDArray[np.int64], order: int, fallback: Discounts | None = None
) -> Discounts:
    """D_1, D_2, D_3+ of one order (Chen and Goodman 1999, equation 26).

    Args:
        counts_of_counts: int64 [4], the n-grams with adjusted count 1, 2, 3, 4.
        order: which order, for the error's text.
        fallback: used where the formula gives no discount.

    Raises:
        DiscountError: the text is too small or too regular for the formula, and no fallback.
    """
    t1, t2, t3, t4 = (int(t) for t in counts_of_counts)
    if min(t1, t2, t3) > 0:
        # Exact: a discount may be 0, and rounding must not make it negative.
        y = Fraction(t1, t1 + 2 * t2)
        exact = (1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3)
        discounts = Discounts(*(float(d) for d in exact))
        if all(0 <= d <= k for k, d in enumerate(exact, 1)):
            return discounts
        reason = "they give the discounts " + ", ".join(f"{d:.3f}" for d in discounts)
    else:
        reason = "discounts need n-grams seen once, twice and three times"
    if fallback is not None:
        return fallback
    raise DiscountError(
        f"no Kneser-Ney discount can be computed for order {order}: the numbers of {order}-grams "
        f"with adjusted count 1, 2, 3, 4 are {t1}, {t2}, {t3}, {t4}, and {reason}; the text is "
        "too small, artificial, or repeats itself",
        "Give more text or a lower --order; or keep what is counted and use the discounts "
        f"{', '.join(f'{d:g}' for d in FALLBACK_DISCOUNTS)} there: --resume --discount-fallback.",
    )
