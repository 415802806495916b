"""A build is continued while workers of the one that was killed still write in its folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.removing import remove, unfinished
from cluster.workspace import Workspace

FILES = 8

WORKER = f"""
import sys
from pathlib import Path
import numpy as np
from cluster.counting import _write_folder
from lmserve.ngram.tables import write_table

shards = Path(sys.argv[1])

def write(partial):
    for number in range({FILES}):
        write_table(partial / f"{{number}}.arrow", {{"a": np.arange(4)}})
    return 4

print("ready", flush=True)
number = 0
while True:
    number += 1
    try:
        _write_folder(shards / f"bucket-{{number}}", write)
    except OSError:
        continue
"""


@pytest.fixture
def files(tmp_path: Path) -> Workspace:
    """The workspace of a build that was stopped when it had planned."""
    files = Workspace(tmp_path / "model.building")
    files.folder.mkdir()
    files.create_folders()
    files.create({}, [])
    return files


def test_workers_that_still_write_do_not_disturb(files: Workspace) -> None:
    shards = files.folder / "shards"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(shards)], stdout=subprocess.PIPE)
    try:
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        for _ in range(300):
            assert files.resume({}) == []
            for shard in shards.glob("bucket-*[0-9]"):
                # What has its name is whole, whoever was at it.
                assert len(list(shard.iterdir())) == FILES
                remove(shard)
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.communicate()
    files.resume({})
    assert list(shards.glob("*.partial")) == []


def test_what_is_unfinished_is_found_at_any_depth(files: Workspace) -> None:
    inner = files.folder / "shards" / "bucket-0.1.partial"
    inner.mkdir()
    (inner / "edges.arrow.2.partial").touch()
    (files.folder / "pieces" / "a.partial").touch()
    (files.folder / "pieces" / "partial").touch()
    assert set(unfinished(files.folder)) == {inner, files.folder / "pieces" / "a.partial"}


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove(tmp_path / "folder")


def test_what_is_gone_need_not_be_deleted(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    remove(tmp_path / "file")
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
