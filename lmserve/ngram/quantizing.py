"""Quantising: a model with codes of a few bits where an exact one has float32 numbers.

Each level has two codebooks, of probabilities and of backoff weights. As in KenLM, the values of a
level are cut into bins that hold equally many of them, and a bin's code stands for its mean. Codes
of their own go to what must stay exact: minus infinity, and the backoff weight 0 of n-grams that
nothing longer begins with. Unigrams stay exact. First children are coded in unary, which takes
fewer bits and more time.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmserve.errors import OptionError
from lmserve.ngram.copying import check_exact, write_copy
from lmserve.ngram.layout import Layout, LevelLayout
from lmserve.ngram.manifest import Manifest
from lmserve.ngram.model import NgramModel
from lmserve.ngram.packed import Float32s
from lmserve.ngram.packing import Uint32s, Uint64s
from lmserve.ngram.unary import best_low_bits, unary_words
from lmserve.ngram.unpacking import read_first_children, read_positions, read_values
from lmserve.ngram.writing import PlainLevel, PlainUnigrams, write_levels

MIN_BITS, MAX_BITS = 2, 16


def quantize(model: NgramModel, output: Path, bits: int = 8) -> Manifest:
    """Writes a smaller copy of a model.

    Args:
        model: an exact model.
        output: the folder to make; it must not exist.
        bits: width of a code, 2 to 16.

    Returns:
        The manifest of the copy.

    Raises:
        OptionError: `bits` is outside its range.
        ModelError: the output exists, or the model is quantised already.
        CorruptModelError: the model is damaged.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise OptionError(
            f"codes of {bits} bits are asked for", f"Ask for {MIN_BITS} to {MAX_BITS}."
        )
    check_exact(model, output, "Quantise")

    def write_tables(folder: Path) -> Mapping[str, Any]:
        layout = _write_tables(model, folder, bits)
        return {"levels": list(layout.levels), "quantized_bits": bits}

    return write_copy(model, output, write_tables)


def make_codebook(values: Float32s, bits: int, *, reserved: tuple[float, ...]) -> Float32s:
    """2^bits values that stand for many: float32 [2^bits], rising.

    Args:
        values: float32 [R].
        bits: width of a code.
        reserved: values that keep themselves, where they occur.
    """
    kept = [value for value in reserved if (values == np.float32(value)).any()]
    binned = np.sort(values[~np.isin(values, np.array(kept, np.float32))])
    bins = (1 << bits) - len(kept)
    edges = np.linspace(0, len(binned), bins + 1).astype(np.int64)
    edges = np.unique(edges)
    means = (
        np.add.reduceat(binned, edges[:-1], dtype=np.float64) / np.diff(edges)
        if len(binned)
        else np.empty(0)
    )
    book = np.sort(np.concatenate((means, kept)).astype(np.float32))
    # Where there are fewer values than codes, the last code is there several times.
    fill = book[-1] if len(book) else np.float32(0)
    return np.concatenate((book, np.full((1 << bits) - len(book), fill, np.float32)))


def encode_values(values: Float32s, codebook: Float32s) -> Uint32s:
    """The code of the nearest value in a codebook: uint32 [R]; a value in it has its own code."""
    with np.errstate(invalid="ignore"):
        middles = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    codes = np.searchsorted(middles, values, side="right").astype(np.uint32)
    # Nothing but minus infinity may become minus infinity, nor anything but 0 the backoff 0.
    exact = np.searchsorted(codebook, values)
    found = codebook[np.minimum(exact, len(codebook) - 1)] == values
    codes[found] = exact[found]
    return codes


def _write_tables(model: NgramModel, folder: Path, bits: int) -> Layout:
    tables = model.tables
    levels, layouts, books = [], [], []
    for k in range(2, model.order + 1):
        layout = model.manifest.layout.levels[k - 2]
        last = k == model.order
        prob, backoff = read_values(model, k, 0, layout.rows)
        first_child = read_first_children(model, k)
        prob_book = make_codebook(prob, bits, reserved=(-np.inf,))
        books.append(prob_book)
        backoffs: Uint32s = np.empty(0, np.uint32)
        if not last:
            books.append(make_codebook(backoff, bits, reserved=(-np.inf, 0.0)))
            backoffs = encode_values(backoff, books[-1])
        levels.append(
            PlainLevel(
                positions=read_positions(model, k),
                probs=encode_values(prob, prob_book),
                backoffs=backoffs,
                first_child=first_child,
            )
        )
        layouts.append(_layout(layout, bits, first_child, last=last))
    unigrams = PlainUnigrams(
        log10_prob=tables.log10_prob,
        log10_backoff=tables.log10_backoff,
        first_child=read_first_children(model, 1),
    )
    codebooks: npt.NDArray[np.float32] = np.concatenate([np.empty(0, np.float32), *books])
    return write_levels(folder, unigrams, levels, Layout(tuple(layouts)), codebooks)


def _layout(exact: LevelLayout, bits: int, first_child: Uint64s, *, last: bool) -> LevelLayout:
    """Codes in the place of values, and first children in unary."""
    if last:
        return replace(exact, prob_bits=bits)
    if exact.rows == 0:
        return replace(exact, prob_bits=bits, backoff_bits=bits)
    above = int(first_child[-1])
    low_bits = best_low_bits(exact.rows, above)
    return replace(
        exact,
        prob_bits=bits,
        backoff_bits=bits,
        child_bits=low_bits,
        unary_words=unary_words(exact.rows, above, low_bits),
    )
