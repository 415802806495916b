"""What a build leaves beside what it made, for programs: its settings, its costs, its tasks."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import lmserve
from cluster.config import BuildConfig, machine_memory_bytes
from cluster.disk import temporary_bytes
from cluster.lookout import Lookout
from cluster.stage_log import StageLog
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.text.pieces import Piece
from lmserve.text.sources import shown

_PACKAGES = ("numpy", "numba", "pyarrow", "ray")


def build_summary(
    config: BuildConfig,
    pieces: Sequence[Piece],
    log: StageLog,
    lookout: Lookout,
    *,
    workers: int,
    wall_s: float,
) -> dict[str, Any]:
    """The summary, for JSON.

    Args:
        config: what was built.
        pieces: of the text.
        log: its stages.
        lookout: what was seen of its folder.
        workers: that it had.
        wall_s: what it took, without the start of Ray and of workers.
    """
    return {
        "lmserve": lmserve.__version__,
        "inputs": [shown(name) for name in config.inputs],
        "text_bytes": sum(piece.size_bytes for piece in pieces),
        "settings": _settings(config),
        "machine": {
            "processors": os.cpu_count(),
            "memory_bytes": machine_memory_bytes(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"Python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
        "workers": workers,
        "memory_bytes": config.memory_bytes,
        "began": datetime.fromtimestamp(log.reports[0].began_s, UTC).isoformat(timespec="seconds"),
        "took_s": time.time() - log.reports[0].began_s,
        "wall_s": wall_s,
        "temporary_disk": {
            "estimated_bytes": temporary_bytes(pieces, config.thresholds),
            "used_bytes": lookout.largest_bytes,
            "samples": lookout.samples,
        },
        "restarts": [asdict(start) for start in lookout.starts if start.again > 0],
        "stages": [report.as_dict() for report in log.reports],
        "tasks": log.tasks,
    }


def _settings(config: BuildConfig) -> dict[str, Any]:
    """What decides the result, as far as it was not left as it is."""
    options = asdict(config.options)
    unset = asdict(SmoothingOptions())
    return {
        "order": config.order,
        "smoothing": str(config.smoothing),
        "special tokens": str(config.special_tokens),
        "tokens": str(config.tokenization),
        "prune": " ".join(map(str, config.prune)),
        "vocabulary": _vocabulary(config.vocabulary),
        "resumed": config.resume,
    } | {name: value for name, value in options.items() if value != unset[name]}


def _vocabulary(limit: VocabularyLimit) -> str:
    if limit.size is not None:
        return f"the {limit.size:,} most frequent words"
    return "all words" if limit.file is None else f"the words of {limit.file.name}"
