"""Builds on a real Ray: any number of workers, workers that die, builds that stop half-way."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from corpora import zipf_text

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from cluster.progress import Silent, StageReport
from cluster.workspace import Workspace
from lmserve.errors import BuildError, DiscountError, InputError, OptionError
from lmserve.ngram.discounting import Discounts
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
            processes = psutil.process_iter(["cmdline"])
            titles = {process.pid: " ".join(process.info["cmdline"] or []) for process in processes}
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
    counted = tmp_path / "model.building" / "shards" / "00000-counts"
    at = counted.stat().st_mtime_ns
    fallback = Discounts(0.5, 1.0, 1.5)
    manifest = build(replace(config, resume=True, discount_fallback=fallback))
    assert manifest.discounts == [fallback, fallback]
    assert at < time.time_ns()
    assert not counted.exists()
    assert np.isfinite(lmserve.load(config.output).score("a b c"))


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
