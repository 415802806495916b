"""ARPA text: the exchange format of n-gram models, read by KenLM, SRILM and most decoders."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lmserve.errors import CorruptModelError, LmserveError
from lmserve.ngram.model import NgramModel
from lmserve.ngram.query import find_contexts

# ARPA has no minus infinity; this is what its readers take for probability 0.
_LOG10_ZERO = -99.0
_CHUNK_ROWS = 1 << 18
STDOUT = Path("-")
# Names of what this process has open already, be it a file.
_OPEN_ALREADY = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
_SPACE, _TAB = (pa.scalar(separator, pa.large_binary()) for separator in (b" ", b"\t"))


def write_arpa(
    model: NgramModel, path: Path, on_progress: Callable[[int], None] = lambda _: None
) -> None:
    """Writes a model as ARPA text.

    A file appears under its name when it is complete, and only then replaces one that is there.

    Numbers are written with as many digits as it takes to read the same float64 back;
    probability 0 (and that of `<s>`, which is never predicted) is written as -99.

    Args:
        model: any n-gram model.
        path: the file to write; links are followed, devices and FIFOs written to. `-` is standard
            output.
        on_progress: called with the number of n-grams just written.

    Raises:
        LmserveError: the file cannot be written; nothing is left of it.
    """
    with _writing(path) as file:
        file.write(b"\\data\\\n")
        for k, count in enumerate(model.manifest.ngrams, 1):
            file.write(f"ngram {k}={count}\n".encode())
        for k in range(1, model.order + 1):
            file.write(f"\n\\{k}-grams:\n".encode())
            for lines in _order_lines(model, k):
                file.write(lines)
                on_progress(lines.count(b"\n"))
        file.write(b"\n\\end\\\n")


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Opens what a path stands for; an error inside the block undoes a file."""
    try:
        if path == STDOUT:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif (path.exists() and not path.is_file()) or str(path).startswith(_OPEN_ALREADY):
            # Appending, as `>> FILE` asks of /dev/stdout; to a device or a FIFO it is the same.
            with path.open("ab") as file:
                yield file
        else:
            with _replacing(Path(os.path.realpath(path))) as file:
                yield file
    except BrokenPipeError:
        raise  # The reader has seen enough.
    except OSError as error:
        raise LmserveError(
            f"cannot write {path}: {error.strerror}",
            "Name a file in a folder that exists and may be written to, on a disk with room; "
            "- is standard output.",
        ) from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes its name when the block ends well, and is removed otherwise."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def ngrams_of_order(
    model: NgramModel, k: int, chunk_rows: int = _CHUNK_ROWS
) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yields all n-grams of order k, in chunks of at most `chunk_rows`.

    Yields:
        word ids in reading order, uint32 [N, k]; log10 probabilities, float64 [N]; log10 backoff
        weights, float64 [N], NaN where the n-gram is no context of a longer one.
    """
    starts = np.concatenate(([0], np.cumsum(model.manifest.ngrams)))
    for begin in range(starts[k - 1], starts[k], chunk_rows):
        rows = np.arange(begin, min(begin + chunk_rows, starts[k]))
        ids = np.empty((len(rows), k), np.uint32)
        ids[:, -1] = model.ngram_word[rows]
        # From the n-gram to its context, then up the trie: the words of a context, first to last.
        context = np.searchsorted(model.first_ngram, rows, side="right") - 1
        for j in range(k - 1):
            ids[:, j] = model.context_word[context]
            context = np.searchsorted(model.first_child, context, side="right") - 1
        yield ids, model.log10_prob[rows], _backoffs(model, ids)


def _backoffs(model: NgramModel, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    if ids.shape[1] == model.order:
        return np.full(len(ids), np.nan)
    rows = find_contexts(ids, model.context_word, model.first_child)
    extended = (rows >= 0) & (model.first_ngram[rows] < model.first_ngram[rows + 1])
    return np.where(extended, model.log10_backoff[rows], np.nan)


def _order_lines(model: NgramModel, k: int) -> Iterator[bytes]:
    words = model.vocabulary.words()
    for ids, log10_prob, log10_backoff in ngrams_of_order(model, k):
        if ids.max(initial=0) >= len(words):
            raise CorruptModelError(
                f"{model.folder}: a {k}-gram has word {ids.max()} of {len(words)}",
                "Build the model again, or copy it again.",
            )
        columns = [words.take(pa.array(ids[:, j])) for j in range(k)]
        ngrams = pc.binary_join_element_wise(*columns, _SPACE) if k > 1 else columns[0]
        fields = [_numbers(log10_prob), ngrams]
        if k < model.order:
            fields.append(_numbers(log10_backoff))
        lines = pc.binary_join_element_wise(*fields, _TAB, null_handling="skip")
        yield b"\n".join(lines.to_pylist()) + b"\n"


def _numbers(values: npt.NDArray[np.float64]) -> pa.Array:
    """Shortest decimal text of each number; null for NaN."""
    finite = np.where(np.isneginf(values), _LOG10_ZERO, values)
    return pa.array(finite, mask=np.isnan(values)).cast(pa.string()).cast(pa.large_binary())
