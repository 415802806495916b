"""Discounts: what is taken off each count for the words not seen, from counts of counts.

Throughout, t1 .. t4 are the numbers of n-grams of one order with count 1 .. 4.
"""

import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmserve.errors import DiscountError, OptionError

CountsOfCounts = npt.NDArray[np.int64]


class Discounts(NamedTuple):
    """What is taken off a count of 1, of 2, and of 3 or more."""

    one: float
    two: float
    three_plus: float


NO_DISCOUNTS = Discounts(0.0, 0.0, 0.0)
# What KenLM falls back to, too.
FALLBACK_DISCOUNTS = Discounts(0.5, 1.0, 1.5)

_NAMED = re.compile(r"D1=(\S+)\s+D2=(\S+)\s+D3\+=(\S+)")


def parse_discounts(text: str) -> Discounts:
    """One order's discounts, as three numbers or as KenLM prints them.

    Args:
        text: `0.5 1 1.5`, `0.5,1,1.5` or `D1=0.5 D2=1 D3+=1.5`.

    Raises:
        OptionError: it is neither, or a discount is out of range.
    """
    named = _NAMED.fullmatch(text.strip())
    parts = named.groups() if named else text.replace(",", " ").split()
    try:
        one, two, three_plus = (float(part) for part in parts)
    except ValueError:
        raise OptionError(
            f"{text!r} is not the discounts of an order",
            "Give three numbers, for counts of 1, of 2 and of 3 or more, such as 0.5,1,1.5.",
        ) from None
    discounts = Discounts(one, two, three_plus)
    check_discounts(discounts)
    return discounts


def check_discounts(discounts: Discounts) -> None:
    """Refuses discounts that take more off a count than it has, or add to it.

    Raises:
        OptionError: one of them is not from 0 to the count it is taken off.
    """
    for count, discount in enumerate(discounts, start=1):
        if not 0 <= discount <= count:  # no number at all (NaN) is refused, too
            more = " or more" if count == 3 else ""
            raise OptionError(
                f"the discount {discount:g} for a count of {count}{more} would leave "
                f"{'more than was counted' if discount < 0 else 'less than nothing'}",
                f"Give a number from 0 to {count} there.",
            )


def modified_kneser_ney(
    counts_of_counts: CountsOfCounts, order: int, fallback: Discounts | None = None
) -> Discounts:
    """D1, D2, D3+ of one order (Chen and Goodman 1999, equation 26).

        Y = t1 / (t1 + 2 t2)     D1 = 1 - 2 Y t2/t1     D2 = 2 - 3 Y t3/t2     D3+ = 3 - 4 Y t4/t3

    Args:
        counts_of_counts: int64 [4], t1 .. t4.
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
    numbers = ", ".join(f"{d:g}" for d in FALLBACK_DISCOUNTS)
    raise _no_discount(counts_of_counts, order, reason, f"discounts {numbers}")


def single_discount(
    counts_of_counts: CountsOfCounts, order: int, fallback: Discounts | None = None
) -> Discounts:
    """One discount D for every count of one order.

        D = t1 / (t1 + 2 t2)

    That is the leaving-one-out estimate of Ney, Essen and Kneser (1994, "On structuring
    probabilistic dependences in stochastic language modelling"), which Kneser and Ney (1995) use.

    Args:
        counts_of_counts: int64 [4], t1 .. t4.
        order: which order, for the error's text.
        fallback: its discount for a count of 1 is used where the formula gives none: none may
            be larger, for it is taken off every count.

    Raises:
        DiscountError: t1 or t2 is 0, and no fallback.
    """
    t1, t2 = int(counts_of_counts[0]), int(counts_of_counts[1])
    if min(t1, t2) > 0:
        d = t1 / (t1 + 2 * t2)
    elif fallback is not None:
        d = fallback.one
    else:
        # D would be 0, which leaves nothing for new words; or 1, which makes of every word seen
        # once a new one.
        reason = "a discount needs n-grams seen once and twice"
        instead = f"discount {FALLBACK_DISCOUNTS.one:g}"
        raise _no_discount(counts_of_counts, order, reason, instead)
    return Discounts(d, d, d)


def _no_discount(
    counts_of_counts: CountsOfCounts, order: int, reason: str, instead: str
) -> DiscountError:
    t1, t2, t3, t4 = (int(t) for t in counts_of_counts)
    return DiscountError(
        f"no Kneser-Ney discount can be computed for order {order}: the numbers of {order}-grams "
        f"with count 1, 2, 3, 4 are {t1}, {t2}, {t3}, {t4}, and {reason}; the text is "
        "too small, artificial, or repeats itself",
        f"Give more text or a lower --order; or keep what is counted and use the {instead} there: "
        "--resume --discount-fallback.",
    )
