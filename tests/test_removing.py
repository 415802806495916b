"""A build is continued while workers of the one that was killed still write in its folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import workspace
from cluster.workspace import Workspace
from lmserve.errors import CorruptModelError
from lmserve.removing import remove, unfinished

FILES, SHARDS, ROUNDS = 8, 4, 200

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
    number = (number + 1) % {SHARDS}
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
    rounds = whole = partial = 0
    try:
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        deadline_s = time.monotonic() + 120
        while min(rounds / ROUNDS, whole, partial) < 1 and time.monotonic() < deadline_s:
            rounds += 1
            partial += any(unfinished(shards))
            assert files.resume({}) == []
            for shard in shards.glob("bucket-?"):
                # What has its name is whole, whoever was at it.
                assert len(list(shard.iterdir())) == FILES
                whole += 1
                if rounds % 2:
                    remove(shard)
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.communicate()
    assert whole
    assert partial
    files.resume({})
    assert list(shards.glob("*.partial")) == []


def test_what_vanishes_while_it_is_looked_at_is_not_damaged(
    files: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As counts of which a worker, when it is done, gives up what takes most room."""
    counts = files.folder / "shards" / "00000-counts-raw"
    counts.mkdir()
    (counts / "sums.json").touch()
    (counts / "levels.arrow").touch()

    def vanish(path: Path) -> None:
        path.unlink()
        raise CorruptModelError("it is gone", "Look again.")

    monkeypatch.setattr(workspace, "open_batches", vanish)
    files.resume({})
    assert [path.name for path in counts.iterdir()] == ["sums.json"]


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
    # It does not count as complete, and the next try does not find a longer name.
    [left] = tmp_path.iterdir()
    assert left in unfinished(tmp_path)
    with pytest.raises(PermissionError):
        remove(left)
    [again] = tmp_path.iterdir()
    assert len(again.name) == len(left.name)


def test_what_is_gone_need_not_be_deleted(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    remove(tmp_path / "file")
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
