"""Settings of a corpus's scoring."""

import os
from dataclasses import dataclass

from lmserve.errors import OptionError
from lmserve.text.sources import BLOCK_BYTES, DEFAULT_COLUMN
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.storage import is_url

# Columns of the parts that no column of the input may be called.
COLUMNS = ("text", "log10_prob", "perplexity", "tokens", "oov", "source", "row")
# Of a part: as much as is read at once; or more, where there is so much text that all workers have
# enough parts anyway, so that there are not too many files. Networks take minutes over the former.
SMALL_PART_BYTES, LARGE_PART_BYTES, LARGE_CORPUS_BYTES = BLOCK_BYTES, 64 << 20, 4 << 30


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Settings of a corpus's scoring.

    Attributes:
        model: folder or URL of the model.
        inputs: the texts: files, URLs and patterns.
        output: folder or URL of the parts to write.
        text_column: the field of JSON and Parquet that holds the text.
        special_tokens: what `<unk>`, `<s>`, `</s>` in a text stand for; None means what was said
            when the model was made.
        min_perplexity: leave out texts below.
        max_perplexity: leave out texts above.
        keep_text: write the texts beside their scores.
        keep_columns: further fields of JSON and Parquet to write beside them.
        part_bytes: bytes of text in a part, at most; None means `SMALL_PART_BYTES`, or
            `LARGE_PART_BYTES` where there are `LARGE_CORPUS_BYTES` and the model is fast.
        workers: processes that score, a processor each; None means all.
        gpus: whether each has a GPU and computes there.
        role: nodes that they run on, see `cluster.placement`; None means all.
        resume: go on with an unfinished scoring.
        overwrite: delete the scoring that is there.
    """

    model: str
    inputs: tuple[str, ...]
    output: str
    text_column: str = DEFAULT_COLUMN
    special_tokens: SpecialTokens | None = None
    min_perplexity: float | None = None
    max_perplexity: float | None = None
    keep_text: bool = True
    keep_columns: tuple[str, ...] = ()
    part_bytes: int | None = None
    workers: int | None = None
    gpus: bool = False
    role: str | None = None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Checks the values, and makes paths absolute: workers have other current folders."""
        for name in ("model", "output"):
            location = getattr(self, name)
            if not is_url(location):
                object.__setattr__(self, name, os.path.abspath(location))
        low, high = self.min_perplexity, self.max_perplexity
        if not all(bound is None or bound > 0 for bound in (low, high)):
            raise OptionError(
                f"perplexities from {low} to {high} are asked for", "Give numbers above 0."
            )
        if low is not None and high is not None and low > high:
            raise OptionError(
                f"no perplexity is at least {low} and at most {high}", "Give the smaller one first."
            )
        if self.part_bytes is not None and self.part_bytes < 1:
            raise OptionError(f"part-size is {self.part_bytes}", "Give a size such as 64MB.")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers is {self.workers}", "Give 1 or more.")
        if self.resume and self.overwrite:
            raise OptionError(
                "--resume keeps what --overwrite deletes", "Give one of them, or none."
            )
        taken = sorted(set(self.keep_columns) & set(COLUMNS))
        if taken or len(set(self.keep_columns)) < len(self.keep_columns):
            raise OptionError(
                f"columns to keep are {', '.join(self.keep_columns)}",
                f"Name each once, and none of {', '.join(COLUMNS)}: these are the scores' own.",
            )
