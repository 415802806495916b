"""Reading ARPA text: anyone's file -> a vocabulary, and the n-grams of each order in ids."""

import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from lmserve.errors import InputError
from lmserve.ngram import arpa_parsing as parsing
from lmserve.ngram.tables import binary_parts
from lmserve.ngram.vocabulary import hash_order
from lmserve.text.sources import Block, read_blocks, split
from lmserve.text.special_tokens import BOS, FIRST_WORD, SPECIAL_WORDS, UNK
from lmserve.text.word_table import Bytes, Ids, Offsets, build_slots

Float32s = npt.NDArray[np.float32]

# What KenLM takes for a model that says nothing of unknown words.
_MISSING_UNK_LOG10 = -100.0
_MAX_ORDER = 32

_WRONG = {
    parsing.NO_NUMBER: ("it begins with no log10 probability", "Write one, such as -2.5."),
    parsing.NOT_A_NUMBER: ("its backoff weight is no number", "Write one, or none at all."),
    parsing.POSITIVE: (
        "its log10 probability is positive, so the probability is above 1",
        "Correct it; what wrote this may have written natural or negated logarithms.",
    ),
    parsing.FEW_WORDS: ("it has too few words", "Move it to the section of its order."),
    parsing.UNKNOWN_WORD: (
        "a word of it is not among the 1-grams",
        "Add it there; an n-gram's words need probabilities of their own.",
    ),
    parsing.MANY_FIELDS: ("something follows its backoff weight", "Take it off."),
}


@dataclass(kw_only=True, slots=True)
class ArpaUnigrams:
    """The vocabulary and its values, in the order of ids.

    Attributes:
        words: `large_binary` [V], the special words first.
        log10_prob: float32 [V].
        log10_backoff: float32 [V].
    """

    words: pa.Array
    log10_prob: Float32s
    log10_backoff: Float32s


@dataclass(kw_only=True, slots=True)
class ArpaLevel:
    """The n-grams of one order k, in the file's order.

    Attributes:
        ids: uint32 [R, k].
        log10_prob: float32 [R].
        log10_backoff: float32 [R], 0 where the file has none.
    """

    ids: Ids
    log10_prob: Float32s
    log10_backoff: Float32s


@dataclass(slots=True)
class _Section:
    """Complete lines of one section: k-grams for k of 1 or more, 0 the header, -1 after the end."""

    k: int
    data: bytes
    block: Block
    begin: int

    @property
    def first_line(self) -> int:
        """The number of its first line; counted when asked for, as only errors tell it."""
        return self.block.first_record + 1 + self.block.data.count(b"\n", 0, self.begin)


def read_arpa(
    path: Path, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[ArpaUnigrams, Iterator[ArpaLevel]]:
    """Reads an ARPA file, plain or compressed (.gz, .bz2, .xz, .zst).

    Args:
        path: the file.
        on_progress: called with the number of n-grams just read.

    Returns:
        The unigrams; levels 2 .. n, each read when asked for.

    Raises:
        InputError: it is no ARPA file, or a line of it is wrong; also while levels are read.
    """
    reader = _Reader(path, on_progress)
    return reader.unigrams(), reader.levels()


class _Reader:
    def __init__(self, path: Path, on_progress: Callable[[int], None]) -> None:
        self._path = path
        self._on_progress = on_progress
        self._sections = _sections(path)
        self._next: _Section | None = None
        self._counts = self._header()
        self._table: tuple[Offsets, Bytes, Ids] | None = None

    def unigrams(self) -> ArpaUnigrams:
        columns, probs, backoffs = [], [], []
        for section in self._of_order(1):
            text = np.frombuffer(section.data, np.uint8)
            wrong, at, begins, ends, prob, backoff = parsing.parse_unigrams(text)
            self._check(section, wrong, at)
            columns.append(parsing.slices(text, begins, ends))
            probs.append(prob)
            backoffs.append(backoff)
            self._on_progress(len(prob))
        if not columns:
            raise InputError(f"{self._path} has no 1-grams", "Give a whole ARPA file.")
        prob, backoff = np.concatenate(probs), np.concatenate(backoffs)
        self._check_count(1, len(prob))
        unigrams = self._in_order_of_ids(pa.concat_arrays(columns), prob, backoff)
        offsets, data = binary_parts(unigrams.words)
        size = 1 << (2 * len(unigrams.words) - 1).bit_length()
        self._table = offsets, data, build_slots(offsets, data, size)
        return unigrams

    def levels(self) -> Iterator[ArpaLevel]:
        with ThreadPoolExecutor(psutil.cpu_count() or 1) as pool:
            for k in range(2, len(self._counts) + 1):
                parts = list(self._parse(pool, k))
                empty = (np.empty((0, k), np.uint32), *[np.empty(0, np.float32)] * 2)
                ids, prob, backoff = (
                    np.concatenate(column) for column in zip(*parts, empty, strict=True)
                )
                parts.clear()
                self._check_count(k, len(ids))
                yield ArpaLevel(ids=ids, log10_prob=prob, log10_backoff=backoff)
        if self._next is None or self._next.k != -1:
            raise InputError(
                f"{self._path} does not end with \\end\\: it was cut short",
                "Copy it again, or write it again.",
            )

    def _parse(self, pool: ThreadPoolExecutor, k: int) -> Iterator[tuple[Ids, Float32s, Float32s]]:
        assert self._table is not None, "unigrams are read first"
        waiting: deque[tuple[_Section, Future[tuple[int, int, Ids, Float32s, Float32s]]]] = deque()

        def finish() -> tuple[Ids, Float32s, Float32s]:
            section, future = waiting.popleft()
            wrong, at, ids, prob, backoff = future.result()
            self._check(section, wrong, at)
            self._on_progress(len(ids))
            return ids, prob, backoff

        for section in self._of_order(k):
            text = np.frombuffer(section.data, np.uint8)
            waiting.append((section, pool.submit(parsing.parse_ngrams, text, k, *self._table)))
            if len(waiting) > 4:
                yield finish()
        while waiting:
            yield finish()

    def _of_order(self, k: int) -> Iterator[_Section]:
        """The parts of the section of order k; what follows stays in `_next`."""
        while self._next is None or self._next.k == k:
            if self._next is not None:
                yield self._next
            self._next = next(self._sections, None)
            if self._next is None:
                return
        if 0 < self._next.k != k + 1 and self._next.k != k:
            raise InputError(
                f"{self._path}, line {self._next.first_line}: the {self._next.k}-grams begin where "
                f"those of order {k} or {k + 1} are expected",
                "Put the sections in rising order.",
            )

    def _header(self) -> list[int]:
        header = b"".join(section.data for section in self._of_order(0))
        counts: list[int] = []
        for number, line in enumerate(header.split(b"\n"), 1):
            match = re.fullmatch(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,18})\s*", line.strip())
            if match and int(match[1]) == len(counts) + 1 <= _MAX_ORDER:
                counts.append(int(match[2]))
            elif line.startswith(b"ngram"):
                raise InputError(
                    f"{self._path}, line {number}: {line[:60]!r} where the number of "
                    f"{len(counts) + 1}-grams is expected",
                    f"Write 'ngram {len(counts) + 1}=COUNT'; order {_MAX_ORDER} is the highest.",
                )
        if b"\\data\\" not in header or not counts:
            raise InputError(
                f"{self._path} is no ARPA file: it does not begin with \\data\\ and counts",
                "Give the text format that SRILM and lmplz write; binary formats cannot be read.",
            )
        return counts

    def _in_order_of_ids(self, words: pa.Array, prob: Float32s, backoff: Float32s) -> ArpaUnigrams:
        order = hash_order(words)
        names = list(SPECIAL_WORDS)
        prob = np.concatenate(([_MISSING_UNK_LOG10, 0.0, 0.0], prob)).astype(np.float32)
        backoff = np.concatenate((np.zeros(FIRST_WORD), backoff)).astype(np.float32)
        is_special = np.zeros(len(words), bool)
        spellings = [(name, i) for i, name in enumerate(names)] + [(b"<UNK>", UNK)]
        found = pc.index_in(words, pa.array([s for s, _ in spellings], pa.large_binary()))
        seen: set[int] = set()
        for row in np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False)):
            special = spellings[found[int(row)].as_py()][1]
            is_special[row] = True
            seen.add(special)
            prob[special], backoff[special] = prob[FIRST_WORD + row], backoff[FIRST_WORD + row]
        if 2 not in seen:
            raise InputError(
                f"{self._path} has no </s> among its 1-grams",
                "Write the model again with sentence ends.",
            )
        prob[BOS] = -np.inf
        order = order[~is_special[order]]
        all_words = pa.concat_arrays(
            [pa.array(SPECIAL_WORDS, pa.large_binary()), words.take(pa.array(order))]
        )
        rows = np.concatenate((np.arange(FIRST_WORD), order + FIRST_WORD))
        twice = len(all_words) - len(pc.unique(all_words)) + int(is_special.sum()) - len(seen)
        if twice:
            raise InputError(
                f"{self._path}: {twice:,} words stand twice among the 1-grams",
                "Keep one line for each.",
            )
        return ArpaUnigrams(words=all_words, log10_prob=prob[rows], log10_backoff=backoff[rows])

    def _check(self, section: _Section, wrong: int, at: int) -> None:
        if wrong == parsing.FINE:
            return
        line = section.first_line + section.data.count(b"\n", 0, at)
        content = section.data[at:].partition(b"\n")[0][:80].decode("utf-8", "replace")
        problem, remedy = _WRONG[wrong]
        raise InputError(f"{self._path}, line {line}: {problem}: {content!r}", remedy)

    def _check_count(self, k: int, found: int) -> None:
        if found != self._counts[k - 1]:
            raise InputError(
                f"{self._path}: {found:,} {k}-grams are there, its header says "
                f"{self._counts[k - 1]:,}",
                "The file was cut short or edited: copy it again, or correct its header.",
            )


def _sections(path: Path) -> Iterator[_Section]:
    """Cuts a file at the heads of its sections: no other line begins with a backslash."""
    k = 0
    for piece in split([path], 1 << 60):
        for block in read_blocks(piece):
            begin = 0
            while begin < len(block.data):
                head = _find_head(block.data, begin)
                if head > begin or head < 0:
                    end = head if head >= 0 else len(block.data)
                    yield _Section(k, block.data[begin:end], block, begin)
                    begin = end
                    continue
                end = block.data.find(b"\n", head) + 1 or len(block.data)
                title = block.data[head:end].strip()
                match = re.fullmatch(rb"\\(\d{1,3})-grams:", title)
                if title == b"\\data\\":
                    yield _Section(0, title + b"\n", block, head)
                elif title == b"\\end\\":
                    yield _Section(-1, b"", block, head)
                    return
                elif match is None:
                    line = _Section(k, b"", block, head).first_line
                    raise InputError(
                        f"{path}, line {line}: {title[:60]!r} is no head of a section",
                        "Write \\N-grams: or \\end\\.",
                    )
                else:
                    k = int(match[1])
                    yield _Section(k, b"", block, head)
                begin = end


def _find_head(data: bytes, begin: int) -> int:
    if data.startswith(b"\\", begin):
        return begin
    found = data.find(b"\n\\", begin)
    return found + 1 if found >= 0 else -1
