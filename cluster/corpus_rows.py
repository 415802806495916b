"""A scored corpus's rows: one for each record of the input, beside its score.

A record is a line of a text file, a JSON object, a row of Parquet. Of a record with several lines,
each is a sentence, and the record's score is their sum. A blank line among JSON objects is no
record.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from lmserve.errors import InputError
from lmserve.scorer import TextScores
from lmserve.text.documents import open_parquet
from lmserve.text.pieces import Block, Format, Piece

SCORES = pa.schema(
    {
        "log10_prob": pa.float64(),
        "perplexity": pa.float64(),
        "tokens": pa.int64(),
        "oov": pa.int64(),
        "source": pa.string(),
        "row": pa.int64(),
    }
)

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a block.

    Attributes:
        starts: int64 [R + 1], the line of the block with which each begins; the last, their number.
        numbers: int64 [R], of each among those of the block, blank ones counted.
    """

    starts: Numbers
    numbers: Numbers

    @classmethod
    def of(cls, block: Block, lines: int) -> "Records":
        """Those of a block of so many lines."""
        if block.line_starts is None:
            return cls(np.arange(lines + 1), np.arange(lines))
        bounds = np.append(block.line_starts, lines)
        numbers = np.flatnonzero(np.diff(bounds))
        return cls(np.append(bounds[numbers], lines), numbers)

    def scores(self, scores: TextScores) -> TextScores:
        """Their scores, from those of the lines."""
        if len(self.numbers) == len(scores):
            return scores
        return TextScores(
            log10_prob=self._sums(scores.log10_prob),
            known_log10_prob=self._sums(scores.known_log10_prob),
            tokens=self._sums(scores.tokens),
            oov=self._sums(scores.oov),
        )

    def texts(self, data: bytes, chosen: Numbers) -> pa.Array:
        """The text of some of them, without the end of its last line."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
        if not data.endswith(b"\n"):
            ends = np.append(ends, len(data) + 1)
        begins = np.append(0, ends)
        starts, stops = begins[self.starts[chosen]], begins[self.starts[chosen + 1]] - 1
        texts = [data[i:j] for i, j in zip(starts.tolist(), stops.tolist(), strict=True)]
        try:
            return pa.array(texts, pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:
            return pa.array([text.decode(errors="replace") for text in texts], pa.large_string())

    def _sums(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if len(self.numbers) == 0:
            return values[:0]
        # Each record has a line at least, so that no sum is of nothing.
        return np.add.reduceat(values, self.starts[:-1])


class KeptColumns:
    """Fields of a piece's records beside their text, read along with its blocks.

    Args:
        piece: of JSON Lines or Parquet.
        names: of the fields. Those of JSON become strings: texts as they are, others as JSON, and
            null where a record lacks them.

    Raises:
        InputError: a Parquet file has no such column.
    """

    def __init__(self, piece: Piece, names: Sequence[str]) -> None:
        self._names = list(names)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._pending = pa.table({})
        self.schema = pa.schema([(name, pa.large_string()) for name in names])
        if names and piece.format is Format.PARQUET:
            self._open(piece)

    def _open(self, piece: Piece) -> None:
        file = open_parquet(piece.path, piece.column)
        missing = [name for name in self._names if name not in file.schema_arrow.names]
        if missing:
            raise InputError(
                f"{piece.name} has no column {missing[0]!r}; its columns are "
                f"{', '.join(map(repr, file.schema_arrow.names))}",
                "Name columns that every file has: --keep-column NAME.",
            )
        self.schema = pa.schema([file.schema_arrow.field(name) for name in self._names])
        self.schema = self.schema.remove_metadata()
        groups = list(range(piece.start, piece.end))
        self._batches = file.iter_batches(row_groups=groups, columns=self._names)
        self._pending = self.schema.empty_table()

    def take(self, block: Block, numbers: Numbers) -> pa.Table:
        """The fields of some records of the piece's next block, by their numbers in it."""
        if not self._names:
            return pa.table({})
        if block.written is not None:
            records = [orjson.loads(line) for line in _chosen(block.written, numbers)]
            columns = {name: [_as_text(r.get(name)) for r in records] for name in self._names}
            return pa.table(columns, self.schema)
        assert block.line_starts is not None
        count = len(block.line_starts)
        while self._pending.num_rows < count:
            batch = pa.Table.from_batches([next(self._batches)]).select(self._names)
            self._pending = pa.concat_tables([self._pending, batch.cast(self.schema)])
        taken, self._pending = self._pending.slice(0, count), self._pending.slice(count)
        return taken.take(numbers)


def _chosen(written: bytes, numbers: Numbers) -> list[bytes]:
    lines = written.split(b"\n")
    return [lines[i] for i in numbers.tolist()]


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
