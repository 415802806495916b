"""Smoothing methods, each made into the same small rule for every order of a model.

With c a context, c' that context without its first word, a(.) the counts that the order uses,
N1(c), N2(c), N3+(c) the numbers of words seen after c with a count of 1, 2, 3 or more, and T(c)
the number of all of them, every method is a choice of the numbers in

    den(c)   = sum_x a(cx) + T(c) per_type + constant
    g(c)     = (D1 N1(c) + D2 N2(c) + D3+ N3+(c) + T(c) per_type + constant) / den(c)
    p(w | c) = (a(cw) - D(a(cw))) / den(c) + g(c) p(w | c')     if w was seen after c
               g(c) p(w | c')                                   if not

or, for one that does not sum to 1, of a fixed g(c) that is for words not seen after c alone. After
a context that was never seen g(c) = 1. The recursion ends in the uniform distribution over the
words that can be predicted. docs/smoothing.md tells when to use which, and what pruning does.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lmserve.errors import OptionError
from lmserve.ngram.discounting import (
    NO_DISCOUNTS,
    CountsOfCounts,
    Discounts,
    check_discounts,
    modified_kneser_ney,
    single_discount,
)


class OrderRule(NamedTuple):
    """How counts of one order become probabilities; Numba kernels take it as it is.

    Attributes:
        discounts: D1, D2, D3+.
        per_type: added to the denominator and the share of c' for each word seen after c.
        constant: added to both for each context.
        fixed_backoff: g(c) of every context, or NaN where the formula gives it.
        interpolate: whether a word that was seen after c also gets its share of g(c).
    """

    discounts: Discounts = NO_DISCOUNTS
    per_type: float = 0.0
    constant: float = 0.0
    fixed_backoff: float = math.nan
    interpolate: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothingOptions:
    """What of a method can be set.

    Attributes:
        discounts: those of order 1, 2, .., instead of what the method's formula gives; None is
            to take the formula.
        discount_fallback: discounts of the orders for which the formula gives none; None is to
            refuse them.
        add_k: k of `add-k`, above 0.
        backoff_factor: what `stupid-backoff` multiplies a shorter context's score by, in (0, 1].

    Raises:
        OptionError: a value is outside its range.
    """

    discounts: tuple[Discounts, ...] | None = None
    discount_fallback: Discounts | None = None
    add_k: float = 0.01
    backoff_factor: float = 0.4

    def __post_init__(self) -> None:
        for discounts in (*(self.discounts or ()), self.discount_fallback):
            if discounts is not None:
                check_discounts(discounts)
        if not 0 < self.add_k < math.inf:
            raise OptionError(
                f"k = {self.add_k:g} cannot be added to every count",
                "Give a number above 0; maximum-likelihood is the method that adds nothing.",
            )
        if not 0 < self.backoff_factor <= 1:
            raise OptionError(
                f"{self.backoff_factor:g} is no factor for stupid backoff",
                "Give a number above 0 and at most 1; 0.4 is usual.",
            )


DEFAULT_OPTIONS = SmoothingOptions()


class Smoothing(StrEnum):
    """How probability is set aside for what was not seen."""

    MODIFIED_KNESER_NEY = "modified-kneser-ney"
    KNESER_NEY = "kneser-ney"
    ABSOLUTE_DISCOUNTING = "absolute-discounting"
    WITTEN_BELL = "witten-bell"
    ADD_K = "add-k"
    STUPID_BACKOFF = "stupid-backoff"
    MAXIMUM_LIKELIHOOD = "maximum-likelihood"

    @property
    def uses_adjusted_counts(self) -> bool:
        """Whether orders below the highest count the distinct words before an n-gram.

        If not, its occurrences. These are the counts of the highest order and of n-grams that
        begin with `<s>` in any case (Chen and Goodman 1999; Heafield et al. 2013).
        """
        return self in (Smoothing.MODIFIED_KNESER_NEY, Smoothing.KNESER_NEY)

    @property
    def has_discounts(self) -> bool:
        """Whether discounts are taken off the counts."""
        return self in (
            Smoothing.MODIFIED_KNESER_NEY,
            Smoothing.KNESER_NEY,
            Smoothing.ABSOLUTE_DISCOUNTING,
        )

    def check_options(self, options: SmoothingOptions, order: int) -> None:
        """Refuses discounts that this method would not use, or a model of another order.

        Raises:
            OptionError: the method has no discounts, or those given are not one for each order.
        """
        if options.discounts is None:
            return
        if not self.has_discounts:
            raise OptionError(
                f"discounts are given, and {self} takes none off",
                "Leave them away, or take a method with discounts, such as modified-kneser-ney.",
            )
        if len(options.discounts) != order:
            raise OptionError(
                f"discounts are given for {len(options.discounts)} orders, and the model has "
                f"{order}",
                "Give three numbers for every order of the model, or none.",
            )

    def rule(
        self,
        counts_of_counts: CountsOfCounts,
        order: int,
        predictable_words: int,
        options: SmoothingOptions = DEFAULT_OPTIONS,
    ) -> OrderRule:
        """The rule of one order.

        Args:
            counts_of_counts: int64 [4], how many n-grams of this order have count 1, 2, 3, 4, of
                the counts that the method uses; those that pruning removes are among them.
            order: which order, 1 or more.
            predictable_words: V, the size of the vocabulary without `<s>`.
            options: what of the method is set, as `check_options` allows it.

        Raises:
            DiscountError: no discount follows from the counts of counts, and none is given.
        """
        match self:
            case (
                Smoothing.MODIFIED_KNESER_NEY
                | Smoothing.KNESER_NEY
                | Smoothing.ABSOLUTE_DISCOUNTING
            ):
                return OrderRule(self._discounts(counts_of_counts, order, options))
            case Smoothing.WITTEN_BELL:
                # Witten and Bell (1991), method C: each word seen was new once, so T(c) of
                # sum_x a(cx) + T(c) events were.
                return OrderRule(per_type=1.0)
            case Smoothing.ADD_K:
                # p(w|c) = (a(cw) + k V p(w|c')) / (sum_x a(cx) + k V): MacKay and Peto (1995),
                # the predictive distribution with alpha = k V and m = p(.|c').
                return OrderRule(constant=options.add_k * predictable_words)
            case Smoothing.STUPID_BACKOFF:
                # Brants et al. (2007), equation 5. The recursion ends at relative frequencies of
                # words: one that was never counted has 0.
                backoff = options.backoff_factor if order > 1 else 0.0
                return OrderRule(fixed_backoff=backoff, interpolate=False)
            case Smoothing.MAXIMUM_LIKELIHOOD:
                return OrderRule()

    def _discounts(
        self, counts_of_counts: CountsOfCounts, order: int, options: SmoothingOptions
    ) -> Discounts:
        if options.discounts is not None:
            return options.discounts[order - 1]
        modified = self is Smoothing.MODIFIED_KNESER_NEY
        formula = modified_kneser_ney if modified else single_discount
        return formula(counts_of_counts, order, options.discount_fallback)
