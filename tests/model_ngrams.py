"""All n-grams of a model, read from its packed tables field by field."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmserve.ngram.model import NgramModel
from lmserve.ngram.packing import unpack_children, unpack_field

Ngram = tuple[bytes, ...]


@dataclass
class _Level:
    words: list[int]  # the last word of each row
    parents: list[int]  # rows of the level below
    suffixes: list[int]  # rows of the level below: the n-grams without their first words
    first_child: list[int]  # one more than rows


def model_ngrams(model: NgramModel) -> dict[Ngram, tuple[float, float | None]]:
    """log10 probability and backoff weight of every n-gram; None in the last level."""
    words = list(model.vocabulary)
    tables, layout = model.tables, model.manifest.layout
    n = len(words)
    children = [*tables.first_child.tolist(), layout.levels[0].rows if layout.levels else 0]
    levels = [_Level(list(range(n)), [0] * n, [0] * n, children)]
    ngrams = {
        (word,): (float(p), float(b) if model.order > 1 else None)
        for word, p, b in zip(words, tables.log10_prob, tables.log10_backoff, strict=True)
    }
    spelled: list[Ngram] = [(word,) for word in words]
    for k in range(2, model.order + 1):
        positions, probs, backoffs, first_child = _fields(model, k)
        below = levels[-1]
        parents = np.repeat(np.arange(len(below.words)), np.diff(below.first_child)).tolist()
        if k == 2:
            suffixes = positions
        else:
            lists = levels[-2].first_child
            suffixes = [
                lists[below.suffixes[parent]] + position
                for parent, position in zip(parents, positions, strict=True)
            ]
        last_words = [below.words[row] for row in suffixes]
        levels.append(_Level(last_words, parents, suffixes, first_child))
        spelled = [
            (*spelled[parent], words[word])
            for parent, word in zip(parents, last_words, strict=True)
        ]
        assert len(set(spelled)) == len(spelled)
        for ngram, prob, backoff in zip(spelled, probs, backoffs, strict=True):
            ngrams[ngram] = float(prob), None if k == model.order else float(backoff)
    return ngrams


def _fields(
    model: NgramModel, k: int
) -> tuple[list[int], npt.NDArray[np.float32], npt.NDArray[np.float32], list[int]]:
    tables, layout = model.tables, model.manifest.layout
    level = layout.levels[k - 2]
    start = layout.start_word(k) * 64

    def field(before: int, width: int) -> npt.NDArray[np.uint32]:
        return unpack_field(tables.bits, start + before, level.row_bits, width, 0, level.rows)

    positions = field(0, level.position_bits).tolist()
    probs = field(level.position_bits, level.prob_bits).view(np.float32)
    if k == model.order:
        return positions, probs, np.zeros(level.rows, np.float32), []
    backoffs = field(level.position_bits + level.prob_bits, level.backoff_bits).view(np.float32)
    offsets = field(level.row_bits - level.child_bits, level.child_bits)
    blocks = tables.blocks[layout.start_block(k) : layout.start_block(k) + level.blocks]
    wide = tables.wide.view(np.uint64)
    first_child = unpack_children(blocks.view(np.uint64), wide, offsets, 0).tolist()
    return positions, probs, backoffs, [*first_child, int(blocks[-1])]
