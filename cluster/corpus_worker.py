"""What a worker does for a scored corpus: a piece of the input into its part. Ray is elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

import lmserve
from cluster.corpus_parts import part_name, part_writer, read_totals
from cluster.corpus_rows import SCORES, KeptColumns, Numbers, Records
from lmserve.language_model import LanguageModel
from lmserve.local_folder import Folder, open_folder
from lmserve.ngram.model import NgramModel
from lmserve.score_summary import ScoreSummary
from lmserve.scorer import TextScores
from lmserve.text.pieces import Block, Piece
from lmserve.text.sources import read_blocks
from lmserve.text.special_tokens import SpecialTokens


@dataclass(frozen=True, kw_only=True)
class CorpusTask:
    """What all workers are told; see `cluster.corpus_config.CorpusConfig`.

    Attributes:
        model: where it lies.
        digest: which it must be.
        output: where parts go.
        special_tokens: as in the configuration.
        min_perplexity: the same.
        max_perplexity: the same.
        keep_text: the same.
        keep_columns: the same.
        device: where recurrent models compute.
    """

    model: str
    digest: str
    output: str
    special_tokens: SpecialTokens | None
    min_perplexity: float | None
    max_perplexity: float | None
    keep_text: bool
    keep_columns: tuple[str, ...]
    device: str = "cpu"

    def facts(self, piece: Piece, version: tuple[int | None, int | None]) -> dict[str, Any]:
        """All that decides the content of a part.

        Args:
            piece: of the input.
            version: of its file: size in bytes and time of change in ns, where they are known.
        """
        return {
            "format": 1,
            "model": self.digest,
            "min_perplexity": self.min_perplexity,
            "max_perplexity": self.max_perplexity,
            "keep_text": self.keep_text,
            "keep_columns": list(self.keep_columns),
            "source": piece.name,
            "column": piece.column,
            "range": [piece.start, piece.end],
            "version": list(version),
        }


class PieceScorer:
    """Scores pieces.

    Args:
        task: what to do with them.
    """

    def __init__(self, task: CorpusTask) -> None:
        self._task = task

    @cached_property
    def _model(self) -> LanguageModel:
        task = self._task
        model = lmserve.load(task.model, special_tokens=task.special_tokens, device=task.device)
        if model.digest != task.digest:
            raise lmserve.errors.ModelError(
                f"{task.model} was another model when this began",
                "Begin anew with --overwrite, and leave the model alone meanwhile.",
            )
        return model

    @cached_property
    def _folder(self) -> Folder:
        return open_folder(self._task.output)

    def score(self, piece: Piece, version: tuple[int | None, int | None]) -> dict[str, Any]:
        """Makes the part of a piece, unless it is there.

        Args:
            piece: of the input.
            version: of its file, as in `CorpusTask.facts`.

        Returns:
            What its texts come to, for JSON: `ScoreSummary.totals`, and "kept" rows, "lines",
            "records" of the piece, "seconds", "part_bytes", and whether it was "there".

        Raises:
            InputError: the piece cannot be read.
            ModelError: the model cannot be opened.
        """
        name, facts = part_name(piece), self._task.facts(piece, version)
        totals = read_totals(self._folder, name, facts)
        there = totals is not None
        if totals is None:
            totals = self._write(piece, name, facts)
        return totals | {"there": there, "part_bytes": self._folder.size_bytes(name) or 0}

    def _write(self, piece: Piece, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        began_s = time.monotonic()
        summary, kept, lines, records = ScoreSummary(), 0, 0, 0
        columns = KeptColumns(piece, self._task.keep_columns)
        with part_writer(self._folder, name, self._schema(columns.schema)) as part:
            for block in read_blocks(piece):
                scores = self._scores(block)
                found = Records.of(block, len(scores))
                of_records = found.scores(scores)
                chosen = self._chosen(of_records)
                kept_columns = columns.take(block, found.numbers[chosen])
                part.write(self._table(piece, block, found, of_records, chosen, kept_columns))
                summary.add(of_records, ())
                kept, lines = kept + len(chosen), lines + len(scores)
                records = block.first_record + _records(block, len(scores))
            totals = summary.totals() | {
                "kept": kept,
                "lines": lines,
                "records": records,
                "seconds": round(time.monotonic() - began_s, 3),
            }
            part.finish(facts, totals)
        return totals

    def _schema(self, kept: pa.Schema) -> pa.Schema:
        text = [pa.field("text", pa.large_string())] if self._task.keep_text else []
        return pa.schema([*text, *SCORES, *kept])

    def _scores(self, block: Block) -> TextScores:
        """Of every line, as `lmserve score` has them."""
        if isinstance(self._model, NgramModel):
            return self._model.score_buffer(block.data)
        return self._model.score_texts(block.lines())

    def _chosen(self, scores: TextScores) -> Numbers:
        """Which texts' perplexities are within the bounds."""
        low, high = self._task.min_perplexity, self._task.max_perplexity
        perplexity = scores.perplexity()
        chosen = np.ones(len(scores), bool)
        if low is not None:
            chosen &= perplexity >= low
        if high is not None:
            chosen &= perplexity <= high
        return np.flatnonzero(chosen)

    def _table(
        self,
        piece: Piece,
        block: Block,
        records: Records,
        scores: TextScores,
        chosen: Numbers,
        kept: pa.Table,
    ) -> pa.Table:
        columns = {
            "log10_prob": scores.log10_prob[chosen],
            "perplexity": scores.perplexity()[chosen],
            "tokens": scores.tokens[chosen],
            "oov": scores.oov[chosen],
            "source": pa.repeat(piece.name, len(chosen)),
            # Counted from 1, as people do.
            "row": block.first_record + records.numbers[chosen] + 1,
        }
        text = {"text": records.texts(block.data, chosen)} if self._task.keep_text else {}
        kept_columns = dict(zip(kept.column_names, kept.columns, strict=True))
        return pa.table({**text, **columns, **kept_columns}, self._schema(kept.schema))


def _records(block: Block, lines: int) -> int:
    """How many records a block has, blank ones included."""
    return lines if block.line_starts is None else len(block.line_starts)
