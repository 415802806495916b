"""Counts on a real Ray: any number of workers, stopped and gone on with, refused."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.build import build
from cluster.config import BuildConfig
from cluster.counts import CountsConfig, count
from cluster.progress import Silent, StageReport
from lmserve.errors import BuildError, OptionError
from lmserve.ngram.counts import Counts


def table(folder: Path, order: int) -> pa.Table:
    """All rows of an order, in the order of the parts."""
    parts = sorted((folder / f"order={order}").iterdir())
    return pa.concat_tables(pq.ParquetFile(part).read() for part in parts)


def tables(folder: Path) -> list[pa.Table]:
    return [table(folder, k) for k in range(1, Counts.read(folder).order + 1)]


@pytest.fixture(scope="module")
def counted(text: Path, tmp_path_factory: pytest.TempPathFactory) -> list[pa.Table]:
    """Counted without Ray."""
    output = tmp_path_factory.mktemp("counted") / "counts"
    count(CountsConfig(inputs=(str(text),), output=output, order=3), on_ray=False)
    return tables(output)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("workers", [1, 3])
def test_rows_and_their_order_are_the_same_for_any_number_of_workers(
    text: Path, tmp_path: Path, counted: list[pa.Table], workers: int
) -> None:
    config = CountsConfig(inputs=(str(text),), output=tmp_path / "counts", order=3, workers=workers)
    stages: list[str] = []

    class Watch(Silent):
        def stage_finished(self, report: StageReport) -> None:
            stages.append(report.name)

    count(config, Watch())
    assert tables(config.output) == counted
    assert len(list((config.output / "order=3").iterdir())) >= 4 * workers
    assert stages == [
        "start Ray", "start workers",
        "tokenize", "rank", "scatter", "count", "read", "export", "gather",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]


class StopAfter(Silent):
    """Ends the work, as Ctrl-C would, when a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def stage_finished(self, report: StageReport) -> None:
        if report.name == self.stage:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["scatter", "count", "export", "gather"])
def test_what_was_stopped_goes_on(
    text: Path, tmp_path: Path, counted: list[pa.Table], stage: str
) -> None:
    config = CountsConfig(inputs=(str(text),), output=tmp_path / "counts", order=3)
    with pytest.raises(KeyboardInterrupt):
        count(config, StopAfter(stage), on_ray=False)
    with pytest.raises(BuildError, match="there is an unfinished build"):
        count(config, on_ray=False)
    with pytest.raises(BuildError, match="had min_count = 1, now it is 2"):
        count(replace(config, resume=True, min_count=2), on_ray=False)
    if stage == "export":
        # As after a power failure: a name, and not all of the content.
        part = tmp_path / "counts.building" / "shards" / "00001-exported" / "3.parquet"
        part.write_bytes(part.read_bytes()[:-100])
    count(replace(config, resume=True, workers=2), on_ray=False)
    assert tables(config.output) == counted
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]


def test_stopped_counts_are_not_gone_on_with_as_a_model(tiny_text: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    counts = CountsConfig(inputs=(str(tiny_text),), output=output, order=2)
    model = BuildConfig(inputs=(str(tiny_text),), output=output, order=2, resume=True)
    with pytest.raises(KeyboardInterrupt):
        count(counts, StopAfter("count"), on_ray=False)
    with pytest.raises(BuildError, match="had makes = 'folder of counts', now it is 'model'"):
        build(model, on_ray=False)


def test_only_counts_are_replaced_by_counts(
    tiny_text: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    config = CountsConfig(inputs=(str(tiny_text),), output=tmp_path / "counts", order=3)
    count(config, on_ray=False)
    with pytest.raises(BuildError, match="exists already"):
        count(config, on_ray=False)
    count(replace(config, order=2, overwrite=True), on_ray=False)
    assert len(tables(config.output)) == 2
    model = replace(config, output=tiny_model_path, overwrite=True)
    with pytest.raises(BuildError, match="exists and is no folder of counts; it is not touched"):
        count(model, on_ray=False)
    as_model = BuildConfig(inputs=config.inputs, output=config.output, overwrite=True)
    with pytest.raises(BuildError, match="exists and is no model; it is not touched"):
        build(as_model, on_ray=False)


def test_min_count_out_of_range() -> None:
    with pytest.raises(OptionError, match="min-count is 0"):
        CountsConfig(inputs=("text",), output=Path("counts"), min_count=0)
