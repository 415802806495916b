"""A build whose own process is killed without a word, and is then continued."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.build import build
from cluster.config import BuildConfig
from cluster.workspace import Workspace

SCRIPT = """
import os, signal, sys
from pathlib import Path
from cluster.build import build
from cluster.config import BuildConfig
from cluster.progress import Silent

text, output, stage, on_ray = sys.argv[1:]

class Kill(Silent):
    stage = ""
    def stage_started(self, name, total):
        self.stage = name
    def advanced(self, amount):
        if self.stage == stage:
            os.kill(os.getpid(), signal.SIGKILL)

config = BuildConfig(inputs=(text,), output=Path(output), order=4, workers=2)
build(config, Kill(), on_ray=on_ray == "ray")
"""


@pytest.mark.parametrize(
    ("stage", "where"),
    [
        ("tokenize", "here"),
        ("scatter", "here"),
        ("count", "here"),
        ("smooth", "here"),
        ("order", "here"),
        ("count", "ray"),
        ("order", "ray"),
    ],
)
def test_a_build_whose_driver_was_killed_is_continued(
    text: Path, tmp_path: Path, expected: str, stage: str, where: str
) -> None:
    arguments = [str(text), str(tmp_path / "model"), stage, where]
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    config = BuildConfig(
        inputs=(str(text),), output=tmp_path / "model", order=4, workers=3, resume=True
    )
    assert Workspace(config.folder).has_done_something()
    assert build(config, on_ray=False).digest == expected
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
