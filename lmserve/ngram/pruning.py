"""Which n-grams a model leaves out because they are rare.

An n-gram stays if it stands in the text more often than its order's threshold. Nothing is counted
in another way for that; docs/smoothing.md tells where the probability of the others goes.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmserve.errors import OptionError

NO_PRUNING = (0,)


def prune_thresholds(given: Sequence[int], order: int) -> npt.NDArray[np.int64]:
    """The threshold of every order: n-grams that occur as often as it says or less are left out.

    Args:
        given: thresholds of order 1, 2, ..; the last one is that of all higher orders, too.
        order: of the model, 1 or more.

    Returns:
        int64 [order], not decreasing; the first is 0, for words are left out before they are
        counted (`--vocab-size`).

    Raises:
        OptionError: the thresholds are none, too many, negative, decreasing, or leave out words.
    """
    text = " ".join(str(threshold) for threshold in given)
    if not given or given[0] != 0:
        raise OptionError(
            f"pruning thresholds {text!r} do not begin with 0, the one of single words",
            "Begin with 0, such as 0 0 1; a vocabulary leaves out words: --vocab-size.",
        )
    if len(given) > order:
        raise OptionError(
            f"pruning thresholds {text!r} are for {len(given)} orders, and the model has {order}",
            "Give one for each order at most; the last one is that of all higher orders.",
        )
    if any(low > high for low, high in itertools.pairwise(given)):
        raise OptionError(
            f"pruning thresholds {text!r} decrease: n-grams would stay without the shorter ones "
            "that they consist of",
            "Give none that is below the one before it.",
        )
    return np.array([*given, *[given[-1]] * (order - len(given))], np.int64)
