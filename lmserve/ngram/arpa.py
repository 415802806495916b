"""ARPA text: the exchange format of n-gram models, read by KenLM, SRILM and most decoders."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import psutil

from lmserve.errors import LmserveError
from lmserve.ngram.arpa_formatting import format_lines
from lmserve.ngram.model import NgramModel
from lmserve.ngram.packed import Float32s
from lmserve.ngram.tables import binary_parts
from lmserve.ngram.unpacking import UnpackedLevel, read_values, spell, unpack_words
from lmserve.text.word_table import Bytes, Ids

_CHUNK_ROWS = 1 << 17
STDOUT = Path("-")
# Names of what this process has open already, be it a file.
_OPEN_ALREADY = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")


def write_arpa(
    model: NgramModel, path: Path, on_progress: Callable[[int], None] = lambda _: None
) -> None:
    """Writes a model as ARPA text.

    A file appears under its name when it is complete, and only then replaces one that is there.

    Numbers are written with as many digits as it takes to read the same float32 back;
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
        with ThreadPoolExecutor(psutil.cpu_count() or 1) as pool:
            for k, levels in enumerate(unpack_words(model), 1):
                file.write(f"\n\\{k}-grams:\n".encode())
                for rows, lines in _order_lines(model, levels, pool):
                    file.write(lines.data)
                    on_progress(rows)
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
) -> Iterator[tuple[Ids, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yields all n-grams of order k, in chunks of at most `chunk_rows`.

    Yields:
        word ids in reading order, uint32 [N, k]; log10 probabilities, float64 [N]; log10 backoff
        weights, float64 [N], NaN where the n-gram is no context of a longer one.
    """
    for levels in unpack_words(model):
        if len(levels) == k:
            break
    for begin in range(0, len(levels[-1].words), chunk_rows):
        ids, prob, backoff = _chunk(model, levels, begin, chunk_rows)
        yield ids, prob.astype(np.float64), backoff.astype(np.float64)


def _chunk(
    model: NgramModel, levels: list[UnpackedLevel], begin: int, chunk_rows: int
) -> tuple[Ids, Float32s, Float32s]:
    """Word ids, log10 P and log10 backoff of some rows; NaN for a backoff that says nothing."""
    first_child = levels[-1].first_child
    end = min(begin + chunk_rows, len(first_child) - 1)
    prob, backoff = read_values(model, len(levels), begin, end)
    context = (first_child[begin:end] < first_child[begin + 1 : end + 1]) | (backoff != 0)
    return spell(levels, begin, end), prob, np.where(context, backoff, np.float32(np.nan))


def _order_lines(
    model: NgramModel, levels: list[UnpackedLevel], pool: ThreadPoolExecutor
) -> Iterator[tuple[int, Bytes]]:
    """Numbers of n-grams and their lines; some chunks ahead are made meanwhile."""
    offsets, data = binary_parts(model.vocabulary.words())

    def make(begin: int) -> tuple[int, Bytes]:
        ids, prob, backoff = _chunk(model, levels, begin, _CHUNK_ROWS)
        return len(ids), format_lines(ids, prob, backoff, offsets, data)

    waiting: deque[Future[tuple[int, Bytes]]] = deque()
    try:
        for begin in range(0, len(levels[-1].words), _CHUNK_ROWS):
            waiting.append(pool.submit(make, begin))
            if len(waiting) > 4:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
