"""Spelling: the n-grams of counted contexts as text, a chunk of rows at a time.

The text of a context is its first word and the text of the context one word shorter, which other
contexts end with, too. So a chunk's texts are made from the shortest contexts on, each context's
once, however many words follow it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lmserve.ngram.levels import Level
from lmserve.ngram.sharding import Prefix
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.text.word_table import Ids


def readable_words(vocabulary: Vocabulary) -> tuple[pa.Array, int]:
    """All words as text, whatever their bytes.

    Returns:
        `large_string` [V], with a � for what is no UTF-8 in a word; how many words have one.
    """
    words = vocabulary.words()
    try:
        return words.cast(pa.large_string()), 0
    except pa.ArrowInvalid:
        read = [word.decode(errors="replace") for word in vocabulary]
        replaced = sum(text.encode() != word for text, word in zip(read, vocabulary, strict=True))
        return pa.array(read, pa.large_string()), replaced


def spell_context(prefix: Prefix, words: pa.Array) -> pa.Scalar:
    """The text of one context, from its words' ids, the nearest first; null for the empty one."""
    text = " ".join(words[word].as_py() for word in reversed(prefix)) if prefix else None
    return pa.scalar(text, pa.large_string())


def spell_rows(
    levels: Sequence[Level], prefix: Prefix, words: pa.Array, begin: int, end: int
) -> pa.Array:
    """The n-grams of some rows of the last of the levels.

    Args:
        levels: contexts of d + 1, d + 2, ... words of one shard.
        prefix: the d words that all these contexts end with, the nearest first.
        words: `large_string` [V].
        begin: the first row.
        end: the row after the last, above `begin`.

    Returns:
        `large_string` [end - begin], words separated by spaces.
    """
    level = levels[-1]
    first, group_of = _groups(level.list_ends, begin, end)
    contexts = _spell_contexts(levels, prefix, words, first, first + int(group_of[-1]) + 1)
    return join(contexts.take(pa.array(group_of)), words.take(pa.array(level.words[begin:end])))


def _spell_contexts(
    levels: Sequence[Level], prefix: Prefix, words: pa.Array, begin: int, end: int
) -> pa.Array:
    """The contexts begin .. end of the last level, as text."""
    firsts = words.take(pa.array(levels[-1].first_words[begin:end]))
    if len(levels) == 1:
        return join(firsts, spell_context(prefix, words))
    first, group_of = _groups(levels[-2].child_ends, begin, end)
    shorter = _spell_contexts(levels[:-1], prefix, words, first, first + int(group_of[-1]) + 1)
    return join(firsts, shorter.take(pa.array(group_of)))


def _groups(ends: Ids, begin: int, end: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Which group each of the items begin .. end - 1 is in.

    Args:
        ends: uint32 [G], not falling, the item after the last of each group.
        begin: the first item.
        end: the item after the last, above `begin`.

    Returns:
        The group of the first item; the groups of all, counted from that: int64 [end - begin].
    """
    # Of the same type as `ends`, which would be converted otherwise, whole.
    first, last = np.searchsorted(ends, np.array([begin, end - 1], ends.dtype), side="right")
    stops = np.minimum(ends[first : last + 1].astype(np.int64), end)
    return int(first), np.repeat(np.arange(len(stops)), np.diff(stops, prepend=begin))


def join(left: pa.Array | pa.Scalar, right: pa.Array | pa.Scalar) -> pa.Array:
    """Texts with a space between: `large_string`; a null is left out."""
    space = pa.scalar(" ", pa.large_string())
    return pc.binary_join_element_wise(left, right, space, null_handling="skip")
