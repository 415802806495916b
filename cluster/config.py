"""Settings of a build."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

import lmserve
from lmserve.errors import OptionError
from lmserve.ngram.discounting import Discounts
from lmserve.ngram.smoothing import Smoothing
from lmserve.text.sources import STDIN
from lmserve.text.special_tokens import SpecialTokens

MAX_ORDER = 32
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
MIN_MEMORY_BYTES = 64 << 20


def machine_memory_bytes() -> int:
    """The memory of this machine, or of the container that this is."""
    total = psutil.virtual_memory().total
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return total if limit == "max" else min(total, int(limit))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """Settings of a build.

    Attributes:
        inputs: files and glob patterns; "-" alone is standard input.
        output: folder of the model to make.
        order: n.
        smoothing: which formula.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        discount_fallback: discounts for orders where the formula gives none.
        workers: actors; one processor each. None means all of the cluster's.
        memory_bytes: for all workers together; sets the number of shards.
        resume: continue an unfinished build.
        overwrite: replace a model that is there already, once the new one is complete.
    """

    inputs: tuple[str, ...]
    output: Path
    order: int = 5
    smoothing: Smoothing = Smoothing.MODIFIED_KNESER_NEY
    special_tokens: SpecialTokens = SpecialTokens.ERROR
    discount_fallback: Discounts | None = None
    workers: int | None = None
    memory_bytes: int = field(default_factory=lambda: machine_memory_bytes() // 2)
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be built."""
        # Workers have other current folders.
        object.__setattr__(self, "output", Path(os.path.abspath(self.output)))
        if not 1 <= self.order <= MAX_ORDER:
            raise OptionError(
                f"order is {self.order}", f"Give an order from 1 to {MAX_ORDER}; 5 is usual."
            )
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers is {self.workers}", "Give 1 worker or more.")
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise OptionError(
                f"memory is {self.memory_bytes:,} bytes", "Give 64MB or more, for example 2GB."
            )
        if STDIN in self.inputs and len(self.inputs) > 1:
            raise OptionError(
                f"standard input (-) is given beside other inputs: {' '.join(self.inputs)}",
                "Give files, or '-' alone.",
            )

    def facts(self, files: Sequence[Path]) -> dict[str, Any]:
        """What must be the same for a build to be resumed: all that the counts depend on."""
        stats = [(str(path), path.stat()) for path in files]
        return {
            "input": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
            "lmserve": lmserve.__version__,
            "order": self.order,
            "special_tokens": str(self.special_tokens),
        }
