"""Builds resumed with other settings, kept elsewhere, cut up otherwise; and what they report."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

import lmserve
from cluster import disk, estimation
from cluster.build import build
from cluster.config import BuildConfig
from cluster.costs import StageReport
from cluster.progress import Silent
from cluster.workspace import Workspace
from lmserve.errors import BuildError, OptionError
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.ngram.packed import open_tables
from lmserve.ngram.smoothing_methods import Smoothing, SmoothingOptions

FALLBACK = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS)
WAYS = [
    {},
    {"prune": (0, 0, 1)},
    {"prune": (0, 2)},
    {"smoothing": Smoothing.WITTEN_BELL},
    {"smoothing": Smoothing.ADD_K, "options": SmoothingOptions(add_k=0.5)},
    {"smoothing": Smoothing.ABSOLUTE_DISCOUNTING, "prune": (0, 0, 1)},
]


class StopAfter(Silent):
    """Ends the build, as Ctrl-C would, when a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def stage_finished(self, report: StageReport) -> None:
        if report.name == self.stage:
            raise KeyboardInterrupt


@pytest.fixture
def config(tiny_text: Path, tmp_path: Path) -> BuildConfig:
    return BuildConfig(inputs=(str(tiny_text),), output=tmp_path / "model", order=3, workers=2)


def digest(config: BuildConfig, **settings: object) -> str:
    """Of a model built at once."""
    output = config.output.with_name("at-once")
    manifest = build(replace(config, output=output, **settings), on_ray=False)  # type: ignore[arg-type]
    shutil.rmtree(output)
    return manifest.digest


@pytest.mark.parametrize("stage", ["count", "smooth", "order", "finish"])
def test_smoothing_may_change_on_the_way_and_change_back(config: BuildConfig, stage: str) -> None:
    """Each way of smoothing finds what was done for it, and nothing that was done for another."""
    for number, settings in enumerate([*WAYS, *reversed(WAYS)]):
        way = replace(config, resume=number > 0, **settings)  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            build(way, StopAfter(stage), on_ray=False)
    manifest = build(replace(config, resume=True), on_ray=False)
    assert manifest.digest == digest(config)
    lmserve.load(config.output, check=True)


@pytest.mark.parametrize("settings", WAYS[1:])
def test_a_build_goes_on_with_other_settings(
    config: BuildConfig, settings: dict[str, object]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter("order"), on_ray=False)
    resumed = replace(config, resume=True, workers=5, **settings)  # type: ignore[arg-type]
    assert build(resumed, on_ray=False).digest == digest(config, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 2}, "had order = 3, now it is 2"),
        ({"vocabulary": VocabularyLimit(size=7)}, "had vocab_size = None, now it is 7"),
        ({"vocabulary": VocabularyLimit(file=Path(__file__))}, "had vocab_file = None, now it is"),
    ],
)
def test_what_records_depend_on_must_stay(
    config: BuildConfig, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter("tokenize"), on_ray=False)
    with pytest.raises(BuildError, match=message):
        build(replace(config, resume=True, **settings), on_ray=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prune": (1,)}, "do not begin with 0"),
        ({"prune": (0, 0, 0, 1)}, "are for 4 orders, and the model has 3"),
        ({"options": SmoothingOptions(discounts=(FALLBACK_DISCOUNTS,))}, "for 1 orders"),
        (
            {
                "options": SmoothingOptions(discounts=(FALLBACK_DISCOUNTS,) * 3),
                "smoothing": Smoothing.ADD_K,
            },
            "add-k takes none off",
        ),
    ],
)
def test_settings_that_contradict_each_other(
    config: BuildConfig, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        replace(config, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows_per_bucket", [1, 7, 63, 64, 65, 500])
def test_buckets_of_any_size_make_the_same_model(
    config: BuildConfig, monkeypatch: pytest.MonkeyPatch, rows_per_bucket: int
) -> None:
    """Groups of rows that many buckets share, buckets without a whole group or without a row."""
    expected = digest(config)
    monkeypatch.setattr(estimation, "_ROWS_PER_BUCKET", rows_per_bucket)
    assert digest(config) == expected


def test_a_row_with_far_more_children_than_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block is stored wide, in whichever bucket it lies."""
    text = tmp_path / "text"
    lines = [f"a b w{i}" for i in range(3000)] + [f"w{i} c" for i in range(3000)]
    text.write_text("\n".join(lines))
    config = BuildConfig(
        inputs=(str(text),), output=tmp_path / "model", order=4, options=FALLBACK, workers=1
    )
    manifest = build(config, on_ray=False)
    assert len(open_tables(config.output, manifest).wide) > 0
    for rows_per_bucket in (50, 1000):
        monkeypatch.setattr(estimation, "_ROWS_PER_BUCKET", rows_per_bucket)
        assert digest(config) == manifest.digest


def test_a_temporary_folder_elsewhere(config: BuildConfig, tmp_path: Path) -> None:
    expected = digest(config)
    elsewhere = replace(config, temp_dir=tmp_path / "temporary" / "folder")
    with pytest.raises(KeyboardInterrupt):
        build(elsewhere, StopAfter("smooth"), on_ray=False)
    assert elsewhere.folder.parent == tmp_path / "temporary" / "folder"
    assert elsewhere.folder.is_dir()
    assert not config.folder.exists()
    assert build(replace(elsewhere, resume=True), on_ray=False).digest == expected
    replaced = replace(elsewhere, order=2, overwrite=True)
    assert build(replaced, on_ray=False).order == 2
    assert lmserve.load(config.output, check=True).order == 2
    assert list(elsewhere.folder.parent.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "temporary"]


def test_a_model_that_was_copied_to_its_place_is_done(config: BuildConfig, tmp_path: Path) -> None:
    """Stopped after the copy and before the original was deleted."""
    elsewhere = replace(config, temp_dir=tmp_path / "temporary")
    with pytest.raises(KeyboardInterrupt):
        build(elsewhere, StopAfter("finish"), on_ray=False)
    shutil.copytree(Workspace(elsewhere.folder).model, config.output)
    build(replace(elsewhere, resume=True), on_ray=False)
    assert not elsewhere.folder.exists()


def test_a_model_that_appears_meanwhile_is_not_overwritten(config: BuildConfig) -> None:
    class Second(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "finish":
                config.output.mkdir()
                (config.output / "manifest.json").write_text("{}")

    with pytest.raises(BuildError, match="exists already"):
        build(config, Second(), on_ray=False)
    assert (config.output / "manifest.json").read_text() == "{}"
    manifest = build(replace(config, resume=True, overwrite=True), on_ray=False)
    assert lmserve.load(config.output, check=True).digest == manifest.digest


def test_a_disk_too_small_is_noticed_before_anything_is_read(
    config: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(BuildError, match=r"needs about .* MB .* 0.0 MB free") as error:
        build(config, on_ray=False)
    assert "--temp-dir" in error.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_what_a_build_cost_is_written_beside_the_model(config: BuildConfig) -> None:
    manifest = build(config, on_ray=False)
    summary = json.loads((config.output / "build.json").read_text())
    stages = {stage["name"]: stage for stage in summary["stages"]}
    tokens = manifest.words + manifest.sentences
    assert stages["tokenize"]["rows"] == stages["scatter"]["rows"] == tokens
    assert stages["rank"]["rows"] == manifest.ngrams[0]
    for name in ("count", "smooth", "order"):
        assert stages[name]["rows"] == sum(manifest.ngrams[1:])
    assert stages["finish"]["rows"] == sum(manifest.ngrams)
    assert stages["scatter"]["bytes_written"] >= 8 * tokens
    for stage in stages.values():
        assert 0 <= stage["cpu_s"] < 60
        assert 0 <= stage["io_s"] <= 60
        assert stage["peak_memory_bytes"] > 10**7
    used = summary["temporary_disk"]
    assert used["used_bytes"] > sum(f.size_bytes for f in manifest.files.values())
    assert used["estimated_bytes"] > 0
