"""Programs that tests run: those that some need beside Python, and lmserve itself."""

import os
import shutil
import subprocess
import sys

import pytest


def program(name: str, debian_package: str) -> str:
    """The path of a program. Skips the test without it; in continuous integration, fails."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is missing: install the Debian package {debian_package}"
        if "CI" in os.environ:
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Runs `lmserve ARGUMENTS...`."""
    command = [sys.executable, "-m", "jobs.cli", *map(str, arguments)]
    result = subprocess.run(command, input=stdin, capture_output=True, timeout=120)
    return subprocess.CompletedProcess(
        command, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def output(*arguments: object, stdin: bytes = b"") -> str:
    """What `lmserve ARGUMENTS...` writes to standard output; it must succeed."""
    result = run(*arguments, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout
