"""Workers that die, builds that stop half-way, files that a crash left cut short."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
import pytest
from corpora import zipf_text

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from cluster.costs import StageReport
from cluster.progress import Silent
from cluster.workspace import Workspace
from lmserve.errors import BuildError, DiscountError, InputError
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS, Discounts
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.text import sources

pytestmark = pytest.mark.usefixtures("ray_session")


class KillOneWorker(Silent):
    """Kills a worker's process in the middle of a stage, when its first task is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.killed = 0
        self._current = ""

    def stage_started(self, name: str, total: int) -> None:
        self._current = name

    def advanced(self, amount: int) -> None:
        if self._current == self.stage and not self.killed:
            processes = psutil.Process().children(recursive=True)
            titles = {process.pid: " ".join(process.cmdline()) for process in processes}
            self.killed = next(pid for pid, title in titles.items() if "NgramWorker" in title)
            psutil.Process(self.killed).kill()


@pytest.mark.parametrize("stage", ["tokenize", "scatter", "count", "smooth", "order"])
def test_a_worker_that_is_killed_costs_only_time(
    text: Path, tmp_path: Path, expected: str, stage: str
) -> None:
    observer = KillOneWorker(stage)
    # Little memory, so that there are more shards than workers.
    config = BuildConfig(
        inputs=(str(text),), output=tmp_path / "model", order=4, workers=2, memory_bytes=64 << 20
    )
    assert build(config, observer).digest == expected
    assert observer.killed


class StopAfter(Silent):
    """Ends the build, as Ctrl-C would, when a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def stage_finished(self, report: StageReport) -> None:
        if report.name == self.stage:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["tokenize", "scatter", "count", "smooth", "order"])
def test_a_stopped_build_is_continued(
    text: Path, tmp_path: Path, expected: str, stage: str
) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4, workers=2)
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter(stage))
    files = Workspace(tmp_path / "model.building")
    # Of a folder a file in it: the folder would stay if its content were made again.
    outputs = [*files.folder.glob("pieces/0*"), *files.folder.glob("shards/0*/*.json")]
    outputs += files.folder.glob("shards/bucket-*/edges.arrow")
    done = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in outputs}
    assert done
    with pytest.raises(BuildError, match="there is an unfinished build"):
        build(config)
    with pytest.raises(BuildError, match="had order = 4, now it is 3"):
        build(replace(config, order=3, resume=True))
    keep = {}

    class Watch(Silent):
        def stage_started(self, name: str, total: int) -> None:
            # Records are given up when they are counted.
            if name in ("count", "finish"):
                there = [path for path in done if path.exists()]
                keep.update({path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in there})

    # Also with another number of workers, whose shards would have been others.
    assert build(replace(config, resume=True, workers=3), Watch()).digest == expected
    assert keep == done


def test_other_discounts_keep_what_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a b c\na b d\n" * 50)
    config = BuildConfig(inputs=(str(path),), output=tmp_path / "model", order=2, workers=1)
    with pytest.raises(DiscountError, match="no Kneser-Ney discount can be computed for order 1"):
        build(config)
    counted = Workspace(config.folder).counts(0, config.counts_key) / "counted.json"
    before = counted.stat()
    seen = []

    class Watch(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "finish":
                seen.append((counted.stat().st_ino, counted.stat().st_mtime_ns))

    fallback = FALLBACK_DISCOUNTS
    options = SmoothingOptions(discount_fallback=fallback)
    manifest = build(replace(config, resume=True, options=options), Watch())
    assert seen == [(before.st_ino, before.st_mtime_ns)]
    assert manifest.discounts == [fallback, fallback]
    assert np.isfinite(lmserve.load(config.output).score("a b c"))


@pytest.mark.parametrize("shard_records", [None, 40], ids=["whole words", "split words"])
@pytest.mark.parametrize("prune", [(0,), (0, 0, 1000)], ids=["all", "pruned"])
def test_counts_that_were_used_up_are_made_again(
    tmp_path: Path, shard_records: int | None, prune: tuple[int, ...]
) -> None:
    text = tmp_path / "text"
    text.write_text(zipf_text(100, seed=4))
    options = SmoothingOptions(discounts=(Discounts(0.5, 1.0, 1.5),) * 3)
    config = BuildConfig(
        inputs=(str(text),),
        output=tmp_path / "model",
        order=3,
        shard_records=shard_records,
        prune=prune,
        options=SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS),
    )
    whole = replace(config, output=tmp_path / "whole", options=options)
    expected = build(whole, on_ray=False).digest
    files = stopped(config, "smooth")
    assert list(files.folder.glob("spares/*"))
    assert not list(files.folder.glob("shards/*counts*/levels.arrow"))
    again = replace(config, options=options, resume=True)
    assert build(again, on_ray=False).digest == expected


def test_a_build_stopped_before_anything_is_done_leaves_nothing(text: Path, tmp_path: Path) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", workers=1)
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter("start Ray"))
    assert list(tmp_path.iterdir()) == []


def stopped(config: BuildConfig, stage: str) -> Workspace:
    """The workspace of a build that was stopped after a stage, without Ray."""
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter(stage), on_ray=False)
    return Workspace(config.folder)


def test_what_a_crash_left_incomplete_is_done_again(
    text: Path, tmp_path: Path, expected: str
) -> None:
    """As after a power failure: files that have their names but not all of their content."""
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4)
    files = stopped(config, "scatter")
    files.words(0).write_bytes(b"")
    files.records(1).write_bytes(files.records(1).read_bytes()[:-100])
    (files.folder / "pieces" / "000002-words.arrow.0123.partial").write_bytes(b"half")
    config = replace(config, resume=True)
    files = stopped(config, "smooth")
    (files.counts(0, config.counts_key) / "shared.arrow").write_bytes(b"ARROW1")
    next(files.folder.glob("shards/00001-smoothed-*/entries.arrow")).write_bytes(b"")
    (files.folder / "shards" / "00000-counts-adjusted.0123.partial").mkdir()
    assert build(config, on_ray=False).digest == expected


def test_a_build_stopped_after_publishing_is_done(text: Path, tmp_path: Path) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=2)
    files = stopped(config, "finish")
    shutil.move(files.model, config.output)
    manifest = build(replace(config, resume=True), on_ray=False)
    assert manifest == lmserve.load(config.output, check=True).manifest
    assert not files.folder.exists()


def test_a_failed_read_keeps_what_is_done(
    text: Path, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk or network that fails once must not cost what was counted before."""
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4)
    opened = 0

    def fail_third(path: str) -> BinaryIO:
        nonlocal opened
        opened += 1
        if opened == 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    real = sources.open_binary
    monkeypatch.setattr(sources, "open_binary", fail_third)
    with pytest.raises(InputError, match="Input/output error"):
        build(config, on_ray=False)
    assert build(replace(config, resume=True), on_ray=False).digest == expected
