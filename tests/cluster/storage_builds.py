"""What tests of builds through an object store share: their settings, and observers."""

import pytest

from cluster.build import build
from cluster.config import BuildConfig
from cluster.costs import StageReport, TaskReport
from cluster.progress import Silent
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.remote_folder import RemoteFolder

FALLBACK = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS)


def objects(bucket: RemoteFolder) -> set[str]:
    """What is in the bucket, below the folder of models."""
    return {path.removeprefix("models/") for path in bucket.files()}


class StopAfter(Silent):
    """Ends the build, as Ctrl-C would, when a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def stage_finished(self, report: StageReport) -> None:
        if report.name == self.stage:
            raise KeyboardInterrupt


def stop(config: BuildConfig, stage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(config, StopAfter(stage), on_ray=False)


class Rows(Silent):
    """What each stage made anew."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def task_finished(self, report: TaskReport) -> None:
        self.of[self.stage] = self.of.get(self.stage, 0) + report.rows

    def stage_started(self, name: str, total: int) -> None:
        self.stage = name
