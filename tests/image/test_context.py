"""What .dockerignore lets through to the builder."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from parsed import ROOT, dockerfile

FOR_THE_BUILDER = {".dockerignore", "cluster/image/Dockerfile"}
PACKAGES = ("lmserve", "cluster", "jobs")


def sent(root: Path) -> set[str]:
    """Files that are sent of a folder, as Docker's own Python client reads .dockerignore."""
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    names = exclude_paths(str(root), patterns, dockerfile="cluster/image/Dockerfile")
    return {name for name in names if (root / name).is_file()}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the repository holds, or would hold after the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    copy = tmp_path_factory.mktemp("repository")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


def test_what_is_copied_is_sent(tracked: Path) -> None:
    copied = [value.split() for value in dockerfile().values("COPY") if "--from" not in value]
    names = {name for words in copied for name in words[:-1]}
    files = sent(tracked)
    for name in names:
        assert name in files or any(file.startswith(f"{name}/") for file in files), name
    tops = {file.partition("/")[0] for file in files}
    assert tops == {name.partition("/")[0] for name in names | FOR_THE_BUILDER}


def test_of_the_packages_everything_is_sent_that_is_installed(
    tracked: Path, tmp_path: Path
) -> None:
    from setuptools import build_meta

    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tracked)
        wheel = build_meta.build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        installed = {name for name in archive.namelist() if name.startswith(PACKAGES)}
    installed = {name for name in installed if ".dist-info/" not in name}
    of_packages = {name for name in sent(tracked) if name.startswith(PACKAGES)}
    build_only = {
        f"cluster/image/{name}" for name in ("Dockerfile", "install.py", "cuda-constraints.txt")
    }
    shutil.rmtree(tracked / "build")
    assert of_packages - build_only == installed


def test_nothing_else_that_lies_about_is_sent(tracked: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(tracked, root)
    before = sent(root)
    for name in (
        ".env", "keys.json", "id_ed25519", ".git/config", ".venv/bin/python", "model/manifest.json",
        "lmserve/__pycache__/scorer.cpython-311.pyc", "jobs/old.pyc", "cluster/deploy/secret.yaml",
        "cluster/image/notes", "tests/service/key.pem", "helm/values.yaml", "build/lib/x.py",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret")
    assert sent(root) == before
