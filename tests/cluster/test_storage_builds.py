"""Builds on machines that share nothing but an object store, a real S3 server."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from separate_workers import SeparateWorkers
from storage_builds import FALLBACK, Rows, objects, stop

import cluster.build
import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from cluster.costs import TaskReport
from cluster.progress import Silent
from cluster.stages import Run
from lmserve.errors import BuildError, DiscountError, InputError, OptionError, RefusedTextError
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.remote_folder import RemoteFolder

STAGES = ["tokenize", "rank", "scatter", "count", "discount", "smooth", "order", "finish"]


OnMachines = Callable[..., tuple[str, SeparateWorkers]]


@pytest.fixture
def on_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnMachines]:
    """Builds with workers on machines of their own; tells the digest, and what worked."""
    pools: list[SeparateWorkers] = []

    def make_pool(run: Run) -> SeparateWorkers:
        pools.append(SeparateWorkers(run, tmp_path))
        return pools[-1]

    def build_so(
        config: BuildConfig, observer: Silent | None = None
    ) -> tuple[str, SeparateWorkers]:
        with monkeypatch.context() as patch:
            patch.setattr(cluster.build, "_in_process", make_pool)
            digest = build(config, observer, on_ray=False).digest
        return digest, pools[-1]

    yield build_so
    for pool in pools:
        pool.close()


def local_digest(config: BuildConfig) -> str:
    """Of the model that the same text and settings make without a store."""
    return _local_digest(config.inputs, config.order, config.prune)


@lru_cache
def _local_digest(inputs: tuple[str, ...], order: int, prune: tuple[int, ...]) -> str:
    with TemporaryDirectory() as folder:
        output = Path(folder, "model")
        config = BuildConfig(
            inputs=inputs, output=output, order=order, prune=prune, options=FALLBACK
        )
        return build(config, on_ray=False).digest


@pytest.mark.parametrize(
    "settings",
    [
        {"order": 1},
        {"order": 2},
        {"order": 4},
        {"order": 4, "shard_records": 10_000},
        {"order": 3, "prune": (0, 0, 1), "shard_records": 30_000},
        {"order": 3, "prune": (0, 0, 1)},
    ],
    ids=["unigrams", "bigrams", "4-grams", "split words", "split and pruned", "pruned"],
)
def test_the_digest_is_that_of_one_machine(
    config: BuildConfig,
    tmp_path: Path,
    bucket: RemoteFolder,
    on_machines: OnMachines,
    settings: dict[str, object],
) -> None:
    config = replace(config, **settings)  # type: ignore[arg-type]
    digest, pool = on_machines(config)
    assert digest == local_digest(config)
    assert list((tmp_path / "driver").iterdir()) == []
    assert {report.worker for report in pool.reports["tokenize"]} == {0, 1}
    model = tmp_path / "model"
    for path in bucket.files("models/m"):
        bucket.get(path, model / path.removeprefix("models/m/"))
    assert lmserve.load(model, check=True).digest == digest
    summary = json.loads((model / "build.json").read_text())
    stages = {stage["name"]: stage for stage in summary["stages"]}
    assert stages["tokenize"]["shared_bytes"] > 0
    assert summary["temporary_disk"]["used_bytes"] > 0
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_build_is_continued_by_another_machine(
    config: BuildConfig, tmp_path: Path, bucket: RemoteFolder, stage: str
) -> None:
    stop(config, stage)
    assert list((tmp_path / "driver").iterdir()) == []
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m.building"}
    with pytest.raises(
        BuildError, match=r"unfinished build in 's3://bucket/storage-builds/models/m.building'"
    ):
        build(config, on_ray=False)
    elsewhere = replace(config, temp_dir=tmp_path / "other driver", resume=True)
    with pytest.raises(BuildError, match="had order = 4, now it is 3"):
        build(replace(elsewhere, order=3), on_ray=False)
    rows = Rows()
    digest = build(elsewhere, rows, on_ray=False).digest
    done = STAGES[: STAGES.index(stage) + 1]
    assert all(rows.of.get(name, 0) == 0 for name in done)
    assert all(rows.of[name] > 0 for name in {"count", "smooth", "order"} - set(done))
    assert digest == local_digest(config)
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m"}


@pytest.mark.parametrize("stage", ["tokenize", "count", "order"])
def test_a_worker_that_is_killed_costs_only_time(
    config: BuildConfig,
    tmp_path: Path,
    on_machines: OnMachines,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    """And so does its disk: what it has shared is in the store."""
    pools: list[SeparateWorkers] = []
    begin = SeparateWorkers.__init__

    def remember(self: SeparateWorkers, *arguments: object) -> None:
        pools.append(self)
        begin(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SeparateWorkers, "__init__", remember)

    class Kill(Silent):
        current = killed = ""

        def stage_started(self, name: str, total: int) -> None:
            self.current = name

        def task_finished(self, report: TaskReport) -> None:
            if self.current == stage and not self.killed:
                self.killed = stage
                pools[0].kill(report.worker)
                for path in (tmp_path / f"machine-{report.worker}").iterdir():
                    path.rename(tmp_path / "broken disk")

    kill = Kill()
    digest, _ = on_machines(config, kill)
    assert kill.killed
    assert digest == local_digest(config)


def test_a_task_fetches_its_own_part_and_no_more(
    config: BuildConfig, on_machines: OnMachines
) -> None:
    _, pool = on_machines(config)
    of = {name: [r.cost for r in reports] for name, reports in pool.reports.items()}
    made = {name: sum(cost.shared_bytes for cost in costs) for name, costs in of.items()}
    index_bytes = 200_000
    for stage, before in (("count", "scatter"), ("order", "smooth")):
        fetched = [cost.fetched_bytes for cost in of[stage]]
        assert len(fetched) > 4
        # All that the stage before has made, once; and the vocabulary, twice.
        assert sum(fetched) < made[before] + 2 * index_bytes * len(pool.reports) + 2_000_000
        largest = max(report.rows for report in pool.reports[stage])
        share = largest / sum(report.rows for report in pool.reports[stage])
        assert sorted(fetched)[-3] < 3 * share * made[before] + index_bytes


def test_what_is_refused_leaves_nothing(
    config: BuildConfig, tmp_path: Path, bucket: RemoteFolder
) -> None:
    text = tmp_path / "text"
    text.write_text("a b\n<s> c\n")
    with pytest.raises(RefusedTextError, match="line 2: the text holds <s>"):
        build(replace(config, inputs=(str(text),)), on_ray=False)
    with pytest.raises(InputError, match="no such"):
        build(replace(config, inputs=(str(tmp_path / "none"),)), on_ray=False)
    assert bucket.files() == []
    assert list((tmp_path / "driver").iterdir()) == []


def test_standard_input_is_kept_in_the_store(
    config: BuildConfig,
    bucket: RemoteFolder,
    on_machines: OnMachines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = Path(config.inputs[0]).read_bytes()

    class Pipe:
        buffer = io.BytesIO(text)

    monkeypatch.setattr(sys, "stdin", Pipe)
    piped = replace(config, inputs=("-",))
    stop(piped, "tokenize")
    monkeypatch.setattr(sys, "stdin", None)
    digest, _ = on_machines(replace(piped, resume=True))
    assert digest == local_digest(config)
    Pipe.buffer = io.BytesIO(b"a b\n</s> c\n")
    monkeypatch.setattr(sys, "stdin", Pipe)
    with pytest.raises(RefusedTextError) as error:
        build(replace(piped, overwrite=True), on_ray=False)
    assert "models/m.stdin.txt" in error.value.remedy
    assert bucket.read("models/m.stdin.txt", 100) == Pipe.buffer.getvalue()
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m", "m.stdin.txt"}


def test_other_discounts_keep_what_is_counted(config: BuildConfig, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("a b c\na b d\n" * 50)
    refused = replace(config, inputs=(str(text),), order=2, options=SmoothingOptions())
    with pytest.raises(DiscountError):
        build(refused, on_ray=False)
    rows = Rows()
    again = replace(refused, resume=True, options=FALLBACK)
    digest = build(again, rows, on_ray=False).digest
    assert rows.of["count"] == 0
    assert digest == local_digest(again)


def test_settings_that_name_no_place(config: BuildConfig) -> None:
    with pytest.raises(OptionError, match=r"Give either of them"):
        replace(config, output=Path("model"))
    with pytest.raises(OptionError, match=r"'s3://bucket' names no folder"):
        replace(config, url="s3://bucket")
