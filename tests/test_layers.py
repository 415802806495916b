"""Imports point one way: jobs -> cluster -> lmserve; and lmserve never imports Ray."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "lmserve": {"cluster", "jobs", "ray"},
    "cluster": {"jobs"},
    "jobs": {"ray"},
}


def imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_imports_point_one_way(layer: str) -> None:
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    wrong = {
        str(file.relative_to(ROOT)): found
        for file in files
        if (found := imported(file.read_text()) & FORBIDDEN[layer])
    }
    assert not wrong


def test_the_check_sees_imports_inside_functions() -> None:
    assert imported("def f():\n    import ray.util\n    from cluster.x import y") == {
        "ray",
        "cluster",
    }


def test_a_model_is_queried_without_ray_torch_or_web_framework(tiny_model_path: Path) -> None:
    script = (
        "import sys, lmserve; lmserve.load(sys.argv[1]).score('w0 w1');"
        "print(sorted({'ray', 'torch', 'fastapi', 'redis'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tiny_model_path)], capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]", result.stderr
