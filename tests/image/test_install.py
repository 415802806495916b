"""What is installed into the image."""

import pytest
from parsed import ROOT

from cluster.image.install import not_pinned, requirements, with_torch

PROJECT = """
[project]
dependencies = ["numpy>=2"]
[project.optional-dependencies]
ray = ["ray[default]>=2"]
rnn = ["torch>=2"]
"""


def test_requirements_are_those_of_the_extras() -> None:
    assert requirements(PROJECT, []) == ["numpy>=2"]
    assert requirements(PROJECT, ["ray", "rnn"]) == ["numpy>=2", "ray[default]>=2", "torch>=2"]


def test_an_extra_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match="no such extra: rays; there are ray, rnn"):
        requirements(PROJECT, ["rays"])


def test_pytorch_comes_with_cuda_or_with_its_index() -> None:
    assert with_torch("cpu", ["ray"], "") == ["ray"]
    assert with_torch("cuda", ["ray"], "") == ["ray", "rnn"]
    assert with_torch("cpu", ["ray", "rnn"], "file:///wheels") == ["ray", "rnn"]


def test_pytorch_for_cuda_does_not_come_unasked() -> None:
    with pytest.raises(SystemExit, match="TORCH_INDEX"):
        with_torch("cpu", ["ray", "rnn"], "")


def test_what_no_constraint_holds_is_named() -> None:
    constraints = "# versions\nnumpy==2.4.6\nPyYAML==6.0.3\ntyping_extensions==4.16.0\n"
    held = ["numpy==2.4.6", "pyyaml==6.0.3", "typing-extensions==4.16.0"]
    assert not_pinned(constraints, held) == []
    assert not_pinned(constraints, [*held, "other==1"]) == ["other==1"]


def test_what_builds_the_package_is_held_too() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert not_pinned(text, ["setuptools==84.2.1"]) == []
