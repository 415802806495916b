"""Programs that some tests need beside Python."""

import os
import shutil

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
