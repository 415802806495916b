"""Builds on a real Ray: any number of workers, workers that die, builds that stop half-way."""

import errno
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
import pytest
import ray
from corpora import zipf_text

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from cluster.progress import Silent, StageReport
from cluster.workspace import Workspace
from lmserve.errors import BuildError, DiscountError, InputError, OptionError
from lmserve.ngram.discounting import Discounts
from lmserve.text import sources
from lmserve.text.tokenizer import SpecialTokens

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 MB, so 4 pieces."""
    path = tmp_path_factory.mktemp("build") / "text"
    path.write_text(zipf_text(60_000, length=30, words=40_000))
    return path


@pytest.fixture(scope="module")
def expected(text: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model, built without Ray."""
    output = tmp_path_factory.mktemp("expected") / "model"
    return build(BuildConfig(inputs=(str(text),), output=output, order=4), on_ray=False).digest


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_digest_is_the_same_for_any_number_of_workers(
    text: Path, tmp_path: Path, expected: str, workers: int
) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4, workers=workers)
    assert build(config).digest == expected
    summary = json.loads((config.output / "build.json").read_text())
    assert summary["workers"] == workers
    stages = [stage["name"] for stage in summary["stages"]]
    assert stages == [
        "start Ray", "tokenize", "rank", "scatter", "adjust", "discount", "smooth", "assemble",
    ]  # fmt: skip
    assert not (tmp_path / "model.building").exists()


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


@pytest.mark.parametrize("stage", ["tokenize", "scatter", "adjust", "smooth"])
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


@pytest.mark.parametrize("stage", ["tokenize", "scatter", "adjust", "smooth"])
def test_a_stopped_build_is_continued(
    text: Path, tmp_path: Path, expected: str, stage: str
) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4, workers=2)
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter(stage))
    files = Workspace(tmp_path / "model.building")
    done = {path: path.stat().st_mtime_ns for path in files.folder.rglob("0*")}
    assert done
    with pytest.raises(BuildError, match="there is an unfinished build"):
        build(config)
    with pytest.raises(BuildError, match="had order = 4, now it is 3"):
        build(replace(config, order=3, resume=True))
    keep = {}

    class Watch(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "assemble":
                keep.update({path: path.stat().st_mtime_ns for path in done})

    # Also with another number of workers, whose shards would have been others.
    assert build(replace(config, resume=True, workers=3), Watch()).digest == expected
    assert keep == done


def test_other_discounts_keep_what_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a b c\na b d\n" * 50)
    config = BuildConfig(inputs=(str(path),), output=tmp_path / "model", order=2, workers=1)
    with pytest.raises(DiscountError, match="no Kneser-Ney discount can be computed for order 1"):
        build(config)
    counted = tmp_path / "model.building" / "shards" / "00000-counts" / "ngrams-2.arrow"
    before = counted.stat()
    seen = []

    class Watch(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "assemble":
                seen.append((counted.stat().st_ino, counted.stat().st_mtime_ns))

    fallback = Discounts(0.5, 1.0, 1.5)
    manifest = build(replace(config, resume=True, discount_fallback=fallback), Watch())
    assert seen == [(before.st_ino, before.st_mtime_ns)]
    assert manifest.discounts == [fallback, fallback]
    assert np.isfinite(lmserve.load(config.output).score("a b c"))


def stopped(config: BuildConfig, stage: str) -> Workspace:
    """The workspace of a build that was stopped after a stage, without Ray."""
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter(stage), on_ray=False)
    return Workspace(config.output.with_name(config.output.name + ".building"))


def test_what_a_crash_left_incomplete_is_done_again(
    text: Path, tmp_path: Path, expected: str
) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4)
    files = stopped(config, "adjust")
    # As after a power failure: files that have their names but not all of their content.
    files.words(0).write_bytes(b"")
    files.records(1).write_bytes(files.records(1).read_bytes()[:-100])
    (files.counts(0) / "ngrams-3.arrow").write_bytes(b"ARROW1")
    (files.folder / "shards" / "00000-counts.0123.partial").mkdir()
    (files.folder / "pieces" / "000002-words.arrow.0123.partial").write_bytes(b"half")
    assert build(replace(config, resume=True), on_ray=False).digest == expected


def test_text_that_changed_meanwhile_is_noticed(text: Path, tmp_path: Path) -> None:
    copy = tmp_path / "text"
    copy.write_bytes(text.read_bytes())

    class Append(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "tokenize":
                with copy.open("a") as file:
                    file.write("one more line\n")

    config = BuildConfig(inputs=(str(copy),), output=tmp_path / "model")
    with pytest.raises(BuildError, match="was changed while it was being read"):
        build(config, Append(), on_ray=False)


def test_two_builds_keep_out_of_each_others_way(text: Path, tmp_path: Path) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=2)

    class Second(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "scatter":
                for other in (config, replace(config, resume=True)):
                    with pytest.raises(BuildError, match="another build is at work"):
                        build(other, on_ray=False)

    build(config, Second(), on_ray=False)


def test_a_build_stopped_after_publishing_is_done(text: Path, tmp_path: Path) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=2)
    files = stopped(config, "assemble")
    shutil.move(files.model, config.output)
    (config.output / "manifest.json").touch()
    for path in (files.folder / "shards").iterdir():
        shutil.rmtree(path)
    manifest = build(replace(config, resume=True), on_ray=False)
    assert manifest == lmserve.load(config.output, check=True).manifest
    assert not files.folder.exists()


def test_what_is_no_model_is_never_overwritten(tiny_text: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "folder" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for output in (thesis.parent, thesis):
        config = BuildConfig(inputs=(str(tiny_text),), output=output, overwrite=True)
        with pytest.raises(BuildError, match="exists and is no model; it is not touched"):
            build(config, on_ray=False)
    assert thesis.read_text() == "years of work"
    config = BuildConfig(inputs=(str(tiny_text),), output=thesis / "model")
    with pytest.raises(BuildError, match="cannot be made"):
        build(config, on_ray=False)


def test_a_pipe_that_only_one_process_can_read_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    config = BuildConfig(inputs=(str(tmp_path / "pipe"),), output=tmp_path / "model")
    with pytest.raises(InputError, match="is a pipe or a device"):
        build(config, on_ray=False)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


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


def test_refused_text_from_a_pipe_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    pipe.write_bytes(b"a b\n<s> c\n")
    with pipe.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        config = BuildConfig(inputs=("-",), output=tmp_path / "model")
        with pytest.raises(InputError, match="line 2: the text holds <s>") as error:
            build(config, on_ray=False)
    kept = tmp_path / "model.stdin.txt"
    assert str(kept) in error.value.remedy
    assert kept.read_bytes() == pipe.read_bytes()
    assert not (tmp_path / "model.building").exists()


def test_a_busy_cluster_slows_a_build_and_does_not_stop_it(
    text: Path, tmp_path: Path, expected: str
) -> None:
    """Other work holds all processors but one: the workers that start do it all."""
    blocker = ray.remote(num_cpus=5)(Silent).remote()
    ray.get(blocker.__ray_ready__.remote())
    try:
        config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4, workers=3)
        assert build(config).digest == expected
    finally:
        ray.kill(blocker)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a b\n\nc <s> d\n", {}, r"text, line 3: the text holds <s>"),
        (b"a\n<unk>\n", {}, r"text, line 2: the text holds <unk>"),
        (b"a\n</s>", {"special_tokens": SpecialTokens.KEEP_UNK}, r"line 2: the text holds </s>"),
        (b"\x00\x01\x02", {}, r"line 1: a zero byte"),
        (b"\n\n \n", {}, "the input holds no word"),
        (b"", {}, "the input is empty"),
    ],
)
def test_text_that_cannot_be_counted_is_refused(
    tmp_path: Path, content: bytes, options: dict[str, SpecialTokens], message: str
) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    config = BuildConfig(inputs=(str(path),), output=tmp_path / "model", workers=1, **options)
    with pytest.raises(InputError, match=message):
        build(config)
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_special_tokens_can_be_dropped(tmp_path: Path, tiny_text: Path) -> None:
    marked = tmp_path / "marked"
    marked.write_text(
        tiny_text.read_text().replace("\n", " </s> <unk>\n").replace("w1 ", "<s> w1 ")
    )
    digests = []
    for name, path in (("1", tiny_text), ("2", marked)):
        config = BuildConfig(
            inputs=(str(path),),
            output=tmp_path / name,
            order=3,
            workers=1,
            special_tokens=SpecialTokens.SPACE,
        )
        digests.append(build(config).digest)
    assert digests[0] == digests[1]


def test_an_existing_model_is_replaced_only_when_told(
    tmp_path: Path, tiny_text: Path, text: Path
) -> None:
    config = BuildConfig(inputs=(str(tiny_text),), output=tmp_path / "model", order=2, workers=1)
    first = build(config).digest
    config = replace(config, inputs=(str(text),))
    with pytest.raises(BuildError, match="exists already"):
        build(config)
    assert lmserve.load(config.output).digest == first
    second = build(replace(config, overwrite=True)).digest
    assert lmserve.load(config.output).digest == second != first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_more_workers_than_processors_are_refused(tmp_path: Path, tiny_text: Path) -> None:
    config = BuildConfig(inputs=(str(tiny_text),), output=tmp_path / "model", workers=7)
    with pytest.raises(OptionError, match="7 workers on a cluster of 6 processors"):
        build(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order is 0"),
        ({"order": 33}, "order is 33"),
        ({"workers": 0}, "workers is 0"),
        ({"memory_bytes": 1000}, "memory is 1,000 bytes"),
        ({"inputs": ("-", "text")}, "standard input"),
    ],
)
def test_settings_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BuildConfig(**{"inputs": ("text",), "output": Path("model"), **options})  # type: ignore[arg-type]
