"""Smoothing methods of the plain reference, from the papers; it shares no code with lmserve.

Chen, Goodman   "An empirical study of smoothing techniques for language modeling", report
                TR-10-98, Harvard University, 1998; Computer Speech and Language 13, 1999
Ney, Essen,     "On structuring probabilistic dependences in stochastic language modelling",
Kneser          Computer Speech and Language 8, 1994
Kneser, Ney     "Improved backing-off for m-gram language modeling", ICASSP 1995
Witten, Bell    "The zero-frequency problem", IEEE Transactions on Information Theory 37, 1991
MacKay, Peto    "A hierarchical Dirichlet language model", Natural Language Engineering 1, 1995
Brants et al.   "Large language models in machine translation", EMNLP-CoNLL 2007
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from reference_counts import CountsOfCounts

Discounts = tuple[float, float, float]

NO_DISCOUNT: Discounts = (0.0, 0.0, 0.0)
ADJUSTED = ("modified-kneser-ney", "kneser-ney")
DISCOUNTED = (*ADJUSTED, "absolute-discounting")
NORMALISED = (*DISCOUNTED, "witten-bell", "add-k", "maximum-likelihood")
METHODS = (*NORMALISED, "stupid-backoff")


@dataclass(frozen=True)
class Rule:
    """What a method does in one order; `ReferenceModel` says how.

    Attributes:
        discounts: taken off counts of 1, 2, and 3 or more.
        per_type, per_context: how many further events there were after a context, each of which
            was a new word: for each distinct word after it, and besides.
        fixed_backoff: the weight of shorter contexts, where it is not what is left.
    """

    discounts: Discounts = NO_DISCOUNT
    per_type: float = 0.0
    per_context: float = 0.0
    fixed_backoff: float | None = None

    def discount(self, count: int) -> float:
        # Chen and Goodman: D(a) is D1 for a = 1, D2 for a = 2, and D3+ for every a >= 3.
        return self.discounts[min(count, 3) - 1]

    def novelties(self, types: int) -> float:
        return types * self.per_type + self.per_context


def choose_rule(
    method: str,
    k: int,
    t: CountsOfCounts,
    vocabulary_size: int,
    *,
    discounts: Sequence[Discounts] | None,
    discount_fallback: Discounts | None,
    add_k: float,
    backoff_factor: float,
) -> Rule:
    """A method's rule for one order k, with t1 .. t4 of the counts which that order uses."""
    if method in DISCOUNTED:
        if discounts is not None:
            return Rule(check(discounts[k - 1]))
        formula = published_discounts if method == "modified-kneser-ney" else published_discount
        return Rule(formula_or_fallback(formula, t, discount_fallback))
    if method == "witten-bell":
        # Witten and Bell, method C: as many new words as distinct words.
        return Rule(per_type=1.0)
    if method == "add-k":
        # MacKay and Peto: k V more events, spread as the shorter context says. Over the uniform
        # distribution 1 / V this is k more of every word.
        return Rule(per_context=add_k * vocabulary_size)
    if method == "stupid-backoff":
        # Brants et al., equation 5, which ends in relative frequencies of words.
        return Rule(fixed_backoff=backoff_factor if k > 1 else 0.0)
    if method == "maximum-likelihood":
        return Rule()
    raise ValueError(f"{method!r}: there is no such method")


def published_discounts(t: CountsOfCounts) -> Discounts:
    """D1, D2, D3+ from t1 .. t4.

    Raises:
        ValueError: t1, t2 or t3 is 0, so that a discount divides by 0, or a discount is negative.
            (t4 = 0 is fine: D3+ is then 3. No discount can exceed its count.)
    """
    t1, t2, t3, t4 = t
    if 0 in (t1, t2, t3):
        raise ValueError(f"no discounts follow from counts of counts {t}: t1, t2, t3 must not be 0")
    # Chen and Goodman (1998), equation 26: Y = t1 / (t1 + 2 t2); Dk = k - (k+1) Y t(k+1) / tk.
    # In fractions, for a discount of exactly 0 is allowed and must not round below it.
    y = Fraction(t1, t1 + 2 * t2)
    d1, d2, d3 = 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3
    if min(d1, d2, d3) < 0:
        raise ValueError(f"counts of counts {t} give a negative discount: {d1}, {d2}, {d3}")
    return float(d1), float(d2), float(d3)


def published_discount(t: CountsOfCounts) -> Discounts:
    """The one discount of Kneser-Ney smoothing and absolute discounting, for every count.

    Raises:
        ValueError: t1 or t2 is 0, so that nothing or everything is taken off a count of 1.
    """
    t1, t2, _, _ = t
    if 0 in (t1, t2):
        raise ValueError(f"no discount follows from counts of counts {t}: t1, t2 must not be 0")
    # Ney, Essen and Kneser: D = t1 / (t1 + 2 t2).
    d = float(Fraction(t1, t1 + 2 * t2))
    return d, d, d


def formula_or_fallback(
    formula: Callable[[CountsOfCounts], Discounts], t: CountsOfCounts, fallback: Discounts | None
) -> Discounts:
    """What the formula gives, or else `fallback`: of which a single discount is the first."""
    if fallback is not None:
        check(fallback)
    try:
        return formula(t)
    except ValueError:
        if fallback is None:
            raise
        return fallback if formula is published_discounts else (fallback[0],) * 3


def check(discounts: Discounts) -> Discounts:
    if not all(0 <= d <= k for k, d in enumerate(discounts, start=1)):
        raise ValueError(f"discounts {discounts}: Dk must lie between 0 and k")
    return discounts
