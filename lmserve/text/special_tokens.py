"""The words that a model uses as marks of its own, and what to do if a text holds them."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

UNK, BOS, EOS = 0, 1, 2
SPECIAL_WORDS = (b"<unk>", b"<s>", b"</s>")
FIRST_WORD = len(SPECIAL_WORDS)

# What a kernel does when it meets a special token.
KEEP, DROP, STOP, UNKNOWN = 0, 1, 2, 3


class SpecialTokens(StrEnum):
    """What to do with `<s>`, `</s>` and `<unk>` written in the text."""

    ERROR = "error"
    KEEP_UNK = "keep-unk"
    SPACE = "space"

    def policy(self, *, querying: bool = False) -> npt.NDArray[np.uint8]:
        """What the kernels do on `<unk>`, `<s>`, `</s>`: uint8 [3].

        Args:
            querying: a text to be scored is never refused. Where text to be counted would be,
                the token is an unknown word: no counted text can have held it.
        """
        refuse = UNKNOWN if querying else STOP
        if self is SpecialTokens.KEEP_UNK:
            return np.array([KEEP, refuse, refuse], np.uint8)
        return np.full(3, DROP if self is SpecialTokens.SPACE else refuse, np.uint8)
