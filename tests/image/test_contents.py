"""What is found in an image that has no place there, and what differs between two."""

import os
import subprocess
from pathlib import Path

import pytest

from cluster.image.proof.contents import differences, unwanted


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A small image of files."""
    root = tmp_path / "one"
    for name in ("usr/bin/python3", "usr/bin/asciitopgm", "opt/venv/lib/gcc.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(0o755 if "bin" in name else 0o644)
    return root


def test_nothing_is_found_where_nothing_is(files: Path) -> None:
    assert unwanted(files, uid=12345) == []


@pytest.mark.parametrize(
    "name", ["gcc", "gcc-12", "x86_64-linux-gnu-g++-12", "cc", "ld", "make", "pip3.11", "clang-14"]
)
def test_programs_that_build_are_found(files: Path, name: str) -> None:
    path = files / "usr/bin" / name
    path.symlink_to("python3")
    assert unwanted(files, uid=12345) == [f"usr/bin/{name} builds or fetches programs"]
    path.unlink()
    path.write_text("")
    path.chmod(0o755)
    assert unwanted(files, uid=12345) == [f"usr/bin/{name} builds or fetches programs"]


def test_rights_and_leftovers_are_found(files: Path) -> None:
    (files / "usr/bin/python3").chmod(0o4755)
    (files / "opt/venv/lib/gcc.py").chmod(0o666)
    (files / "root/.cache/pip").mkdir(parents=True)
    (files / "root/.cache/pip/wheel").write_text("")
    assert sorted(unwanted(files, uid=12345)) == [
        "opt/venv/lib/gcc.py can be written by everybody",
        "root/.cache has something in it",
        "usr/bin/python3 runs with its owner's rights",
    ]


def test_files_of_the_user_are_found_outside_its_home(files: Path) -> None:
    found = unwanted(files, uid=os.getuid())
    assert "opt/venv/lib/gcc.py belongs to the user" in found


def test_differences_are_content_and_rights_not_times(files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", files, other], check=True)
    os.utime(other / "usr/bin/python3", (0, 0))
    assert differences(files, other) == []
    (other / "usr/bin/python3").write_text("changed")
    (other / "opt/venv/lib/gcc.py").chmod(0o600)
    (other / "new").write_text("")
    assert differences(files, other) == ["new", "opt/venv/lib/gcc.py", "usr/bin/python3"]
