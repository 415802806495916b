"""Scoring a corpus: a row of Parquet for each text, for filtering by perplexity.

    OUTPUT/
        FILE-1a2b3c4d-000000000000.parquet    a part for each piece of the input, see `corpus_parts`
        summary.json                          what all of it comes to; last, so that it is complete

OUTPUT is a folder that all nodes see, or a URL. What is done is kept: a scoring that was stopped
goes on with what is missing, and so does one whose input has grown or changed.
"""

import json
import math
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lmserve
from cluster.corpus_actors import Work, score_pieces
from cluster.corpus_config import (
    LARGE_CORPUS_BYTES,
    LARGE_PART_BYTES,
    SMALL_PART_BYTES,
    CorpusConfig,
)
from cluster.corpus_parts import SUMMARY_FILE, is_part, part_name
from cluster.corpus_worker import CorpusTask
from cluster.placement import gpus, processors
from cluster.session import connect, connected, disconnect
from lmserve.errors import InputError, OptionError, ScoringError
from lmserve.language_model import LanguageModel
from lmserve.local_folder import Folder, LocalFolder, open_folder
from lmserve.score_summary import ScoreSummary
from lmserve.text.pieces import Format
from lmserve.text.sources import file_stat, find_files, split
from lmserve.text.storage import is_pipe, shown

_QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_MARKER_PREFIX, _SCRATCH_PREFIX = ".run-", ".part-"

# Told of each piece that is done: the bytes of all, of this one, and what its texts come to.
Watch = Callable[[int, int, Mapping[str, Any]], None]
Done = dict[int, dict[str, Any]]


def score_corpus(
    config: CorpusConfig,
    watch: Watch = lambda _all, _one, _totals: None,
    *,
    address: str | None = None,
) -> dict[str, Any]:
    """Scores a corpus.

    Args:
        config: what to score, by what, where to.
        watch: told of every piece that is done.
        address: Ray cluster, see `cluster.session.connect`.

    Returns:
        The content of `summary.json`.

    Raises:
        InputError: a text cannot be read, or all are empty.
        ModelError: there is no model.
        OptionError: the settings do not fit the input or the cluster.
        ScoringError: the output exists, a node does not see it, or workers died too often.
    """
    began_s = time.monotonic()
    folder = open_folder(config.output)
    _check_output(config, folder)
    model = lmserve.load(config.model, special_tokens=config.special_tokens)
    work = _plan(config, model)
    ours = not connected()
    connect(address, num_cpus=config.workers)
    try:
        workers = _workers(config)
        _begin(config, folder)
        with _marked(folder) as marker:
            task = _task(config, model)
            done = _run(config, task, work, workers, marker, watch)
        _tidy(folder, [part_name(one.piece) for one in work])
        summary = _summary(config, model, work, done, workers, time.monotonic() - began_s)
        folder.put(SUMMARY_FILE, (json.dumps(summary, indent=2) + "\n").encode())
        return summary
    finally:
        if ours:
            disconnect()


def _check_output(config: CorpusConfig, folder: Folder) -> None:
    visible = [name for name in folder.files() if not name.startswith(".")]
    foreign = [name for name in visible if name != SUMMARY_FILE and not is_part(name)]
    if foreign:
        raise ScoringError(
            f"{folder.location} holds {foreign[0]!r}, which is no part of a scored corpus; it is "
            "not touched",
            "Give another --output.",
        )
    if visible and not (config.resume or config.overwrite):
        unfinished = SUMMARY_FILE not in visible
        raise ScoringError(
            f"there is {'an unfinished' if unfinished else 'a'} scoring in {folder.location}",
            "Give another --output, --resume to do what is missing or changed, or --overwrite to "
            "begin anew.",
        )


def _plan(config: CorpusConfig, model: LanguageModel) -> list[Work]:
    """The pieces of the input. A file that is named twice is scored once."""
    files = list(dict.fromkeys(find_files(config.inputs)))
    for name in files:
        if is_pipe(name):
            raise InputError(
                f"{shown(name)!r} can be read only once, and by this process only",
                "Name files or URLs; of a pipe, keep a copy first, or use lmserve score.",
            )
    stats = {name: file_stat(name) for name in files}
    large = sum(stat.size_bytes or 0 for stat in stats.values()) >= LARGE_CORPUS_BYTES
    part_bytes = LARGE_PART_BYTES if large and not model.costly else SMALL_PART_BYTES
    pieces = split(files, config.part_bytes or part_bytes, config.text_column)
    plain = [piece.name for piece in pieces if piece.format is Format.LINES]
    if config.keep_columns and plain:
        raise OptionError(
            f"{plain[0]} is plain text, which has no column {config.keep_columns[0]!r}",
            "Leave out --keep-column, or give .jsonl or .parquet.",
        )
    versions = {name: (stat.size_bytes, stat.changed_ns) for name, stat in stats.items()}
    return [Work(piece, versions[piece.path]) for piece in pieces]


def _workers(config: CorpusConfig) -> int:
    available = gpus(config.role) if config.gpus else processors(config.role)
    workers = config.workers or max(1, available)
    if workers > available:
        kind = "GPUs" if config.gpus else "processors"
        raise OptionError(
            f"{workers} workers on a cluster of {available} {kind} would wait for ever",
            f"Give --workers {available} or fewer, or add nodes.",
        )
    return workers


def _begin(config: CorpusConfig, folder: Folder) -> None:
    """Leaves nothing that looks complete, and of what is overwritten nothing at all."""
    for name in folder.files():
        if name == SUMMARY_FILE or (config.overwrite and is_part(name)):
            folder.delete_file(name)


@contextmanager
def _marked(folder: Folder) -> Iterator[str | None]:
    """A file in a local output while the block runs, by which workers know that they see it."""
    if not isinstance(folder, LocalFolder):
        yield None
        return
    marker = f"{_MARKER_PREFIX}{uuid.uuid4().hex}"
    folder.put(marker, b"")
    try:
        yield str(folder.root / marker)
    finally:
        folder.delete_file(marker)


def _task(config: CorpusConfig, model: LanguageModel) -> CorpusTask:
    return CorpusTask(
        model=config.model,
        digest=model.digest,
        output=config.output,
        special_tokens=config.special_tokens,
        min_perplexity=config.min_perplexity,
        max_perplexity=config.max_perplexity,
        keep_text=config.keep_text,
        keep_columns=config.keep_columns,
        device="cuda" if config.gpus else "cpu",
    )


def _run(
    config: CorpusConfig,
    task: CorpusTask,
    work: Sequence[Work],
    workers: int,
    marker: str | None,
    watch: Watch,
) -> Done:
    done: Done = {}
    all_bytes = sum(one.piece.size_bytes for one in work)
    for index, totals in score_pieces(
        task, work, workers=workers, gpus=config.gpus, role=config.role, marker=marker
    ):
        done[index] = totals
        watch(all_bytes, work[index].piece.size_bytes, totals)
    missing = [one.piece.name for one in work if one.piece.index not in done]
    if missing:
        raise ScoringError(
            f"Ray gave no result for {len(missing)} pieces, the first of {missing[0]}",
            "Go on with --resume.",
        )
    return done


def _tidy(folder: Folder, parts: Sequence[str]) -> None:
    """Deletes parts of what is no longer input, and what killed workers have left."""
    for name in set(folder.files()) - set(parts):
        if is_part(name):
            folder.delete_file(name)
    if isinstance(folder, LocalFolder):
        for path in folder.root.glob(f"{_SCRATCH_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in folder.root.glob(".*.partial"):
            path.unlink(missing_ok=True)


def _summary(
    config: CorpusConfig,
    model: LanguageModel,
    work: Sequence[Work],
    done: Done,
    workers: int,
    seconds: float,
) -> dict[str, Any]:
    total = ScoreSummary()
    parts, rows_of_file = [], dict.fromkeys((one.piece.path for one in work), 0)
    for one in work:
        totals = done[one.piece.index]
        total.add_totals(totals)
        parts.append(
            {
                "part": part_name(one.piece),
                "source": one.piece.name,
                "first_row": rows_of_file[one.piece.path] + 1,
                "rows": totals["texts"],
                "kept": totals["kept"],
                "bytes": totals["part_bytes"],
            }
        )
        rows_of_file[one.piece.path] += totals["records"]
    lines = sum(totals["lines"] for totals in done.values())
    fresh = sum(totals["texts"] for totals in done.values() if not totals["there"])
    return {
        "lmserve": lmserve.__version__,
        "model": shown(config.model),
        "digest": model.digest,
        "inputs": [shown(name) for name in config.inputs],
        "min_perplexity": config.min_perplexity,
        "max_perplexity": config.max_perplexity,
        "rows": total.texts,
        "kept": sum(totals["kept"] for totals in done.values()),
        "lines": lines,
        "words": total.tokens - lines,
        "tokens": total.tokens,
        "oov": total.oov,
        "log10_prob": total.log10_prob,
        "perplexity": total.perplexity,
        "impossible": total.impossible,
        "quantiles": {str(part): _finite(total.quantile(part)) for part in _QUANTILES},
        "input_bytes": sum(one.piece.size_bytes for one in work),
        "output_bytes": sum(totals["part_bytes"] for totals in done.values()),
        "workers": workers,
        "seconds": round(seconds, 3),
        "worker_seconds": round(sum(totals["seconds"] for totals in done.values()), 3),
        "rows_scored_now": fresh,
        "rows_per_s": round(fresh / seconds, 1),
        "parts": parts,
    }


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
