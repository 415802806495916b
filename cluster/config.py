"""Settings of a build."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import psutil

import lmserve
from lmserve.errors import OptionError
from lmserve.manifests import MANIFEST_FILE
from lmserve.ngram.limiting import ALL_WORDS, VocabularyLimit
from lmserve.ngram.pruning import NO_PRUNING, prune_thresholds
from lmserve.ngram.smoothing_methods import DEFAULT_OPTIONS, Smoothing, SmoothingOptions
from lmserve.remote_folder import name_in_url
from lmserve.text.sources import DEFAULT_COLUMN, STDIN, file_stat, shown
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization

MAX_ORDER = 32
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
MIN_MEMORY_BYTES = 64 << 20
# What a worker needs that does nothing; measured, see benchmarks/README.md.
_BYTES_PER_WORKER = 270 << 20


def machine_memory_bytes() -> int:
    """The memory of this machine, or of the container that this is."""
    total = psutil.virtual_memory().total
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return total if limit == "max" else min(total, int(limit))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """Settings of a build.

    Attributes:
        inputs: files, URLs and glob patterns; "-" alone is standard input.
        output: folder of the model to make, seen by all machines that work on it.
        url: of that folder, in place of `output`: `s3://bucket/model`. The machines then need see
            nothing else.
        order: n.
        smoothing: which formula.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        options: what of the formula is set.
        prune: n-grams that occur so often or less are left out, of order 1, 2, ..; the last one is
            for all higher orders, too.
        vocabulary: which words are counted as themselves; the others are `<unk>`.
        tokenization: how the text becomes tokens.
        tokenizer_file: the tokenizer's file, where the tokenization has one; copied into the model.
        text_column: the field of JSON and Parquet that holds the text.
        workers: actors; one processor each. None means all of the cluster's.
        role: of the nodes that actors run on, see `cluster.placement`; None means any node.
        memory_bytes: for all workers together; sets the number of shards.
        shard_records: the most records of one shard, each a word of the text with those before it;
            None means what fits into `memory_bytes`.
        temp_dir: where the build keeps what it does meanwhile; None means beside the output. With a
            URL it is a folder of each machine's own, and None means the system's temporary one.
        resume: continue an unfinished build.
        overwrite: replace a model that is there already, once the new one is complete.
    """

    # What is made, in a word; the file by which it is known; what tells of its making.
    makes: ClassVar[str] = "model"
    manifest_file: ClassVar[str] = MANIFEST_FILE
    summary_file: ClassVar[str] = "build.json"
    report_file: ClassVar[str] = "report.html"

    inputs: tuple[str, ...]
    output: Path = Path()
    url: str | None = None
    order: int = 5
    smoothing: Smoothing = Smoothing.MODIFIED_KNESER_NEY
    special_tokens: SpecialTokens = SpecialTokens.ERROR
    options: SmoothingOptions = DEFAULT_OPTIONS
    prune: tuple[int, ...] = NO_PRUNING
    vocabulary: VocabularyLimit = ALL_WORDS
    tokenization: Tokenization = field(default_factory=Tokenization)
    tokenizer_file: Path | None = None
    text_column: str = DEFAULT_COLUMN
    workers: int | None = None
    role: str | None = None
    memory_bytes: int = field(default_factory=lambda: machine_memory_bytes() // 2)
    shard_records: int | None = None
    temp_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be built."""
        if (self.url is None) == (self.output == Path()):
            raise OptionError(
                f"the output is {str(self.output)!r}, and its URL {self.url!r}",
                "Give either of them.",
            )
        if self.url is None:
            # Workers have other current folders.
            object.__setattr__(self, "output", Path(os.path.abspath(self.output)))
        elif not name_in_url(self.url):
            raise OptionError(
                f"{shown(self.url)!r} names no folder", "Give one, such as 's3://bucket/model'."
            )
        if self.temp_dir is not None:
            object.__setattr__(self, "temp_dir", Path(os.path.abspath(self.temp_dir)))
        if not 1 <= self.order <= MAX_ORDER:
            raise OptionError(
                f"order is {self.order}", f"Give an order from 1 to {MAX_ORDER}; 5 is usual."
            )
        self.smoothing.check_options(self.options, self.order)
        prune_thresholds(self.prune, self.order)
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers is {self.workers}", "Give 1 worker or more.")
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise OptionError(
                f"memory is {self.memory_bytes:,} bytes", "Give 64MB or more, for example 2GB."
            )
        if (self.tokenization.file_name is None) != (self.tokenizer_file is None):
            raise OptionError(
                f"the tokenizer is {self.tokenization.tokenizer} and its file "
                f"{self.tokenizer_file}",
                "Give tokenizer_file for a tokenizer that has a file, and only then.",
            )
        if STDIN in self.inputs and len(self.inputs) > 1:
            raise OptionError(
                f"standard input (-) is given beside other inputs: {' '.join(self.inputs)}",
                "Give files, or '-' alone.",
            )

    @property
    def name(self) -> str:
        """The output's name."""
        return self.output.name if self.url is None else name_in_url(self.url)

    @property
    def place(self) -> str:
        """The output, for people."""
        return str(self.output) if self.url is None else shown(self.url.partition("?")[0])

    @property
    def folder(self) -> Path:
        """The folder of the unfinished build, unless that is in a store."""
        name = f"{self.output.name}.building"
        if self.temp_dir is None:
            return self.output.parent / name
        # Outputs of one name in several folders have one each.
        where = hashlib.blake2b(str(self.output).encode(), digest_size=4).hexdigest()
        return self.temp_dir / f"{self.output.name}-{where}.building"

    @property
    def thresholds(self) -> npt.NDArray[np.int64]:
        """What n-grams must occur more often than: int64 [n], of orders 1 .. n."""
        return prune_thresholds(self.prune, self.order)

    @property
    def counts_key(self) -> str:
        """Names what of the smoothing decides what is counted.

        Settings that differ in nothing else can go on with the same counts.
        """
        kind = "adjusted" if self.smoothing.uses_adjusted_counts else "raw"
        return "-".join([kind, *(str(t) for t in self.thresholds if self.thresholds.any())])

    @property
    def keep_raw(self) -> bool:
        """Whether raw counts are needed beside adjusted ones: pruning asks for them."""
        return self.smoothing.uses_adjusted_counts and bool(self.thresholds.any())

    def bytes_per_worker(self, workers: int) -> int:
        """What each of so many workers may use for its task."""
        share = self.memory_bytes // workers
        return max(share - _BYTES_PER_WORKER, share // 4)

    def facts(self, files: Sequence[str]) -> dict[str, Any]:
        """What must be the same for a build to be resumed: all that its records depend on.

        Smoothing, pruning, memory and workers may be others: what was done for them is named after
        them, or planned once and then kept.
        """
        stats = [(name, file_stat(name)) for name in files]
        return {
            "makes": self.makes,
            "input": [[name, stat.size_bytes, stat.changed_ns] for name, stat in stats],
            "lmserve": lmserve.__version__,
            "order": self.order,
            "special_tokens": str(self.special_tokens),
            "vocab_size": self.vocabulary.size,
            "vocab_file": self.vocabulary.file_sha256(),
            "text_column": self.text_column,
            "tokenization": self.tokenization.model_dump(mode="json"),
        }
