"""The chart's documents say what there is."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml
from chart import CHART, EXAMPLES, ROOT


@pytest.fixture(scope="module")
def values_table() -> ModuleType:
    path = ROOT / "helm" / "values_table.py"
    spec = importlib.util.spec_from_file_location("values_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["values_table"] = module
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_up_to_date(values_table: ModuleType) -> None:
    readme = (CHART / "README.md").read_text()
    values = (CHART / "values.yaml").read_text()
    assert values_table.readme(readme, values) == readme, "run: python helm/values_table.py"
    assert values_table.readme(readme, values + "# -- More.\nmore: 1\n").count("`more`") == 1


def test_every_value_is_told_and_in_the_schema(values_table: ModuleType) -> None:
    text = (CHART / "values.yaml").read_text()
    rows = {row.path: row for row in values_table.rows(text)}
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load(text)
    assert [path for path in _leaves(values, rows) if path not in rows] == []
    assert [row.path for row in rows.values() if not row.told] == []

    def known(part: dict[str, Any], names: list[str]) -> bool:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].rsplit("/", 1)[1]]
        if not names:
            return True
        inner = part.get("properties", {}).get(names[0])
        return (inner is not None and known(inner, names[1:])) or part.get(
            "additionalProperties"
        ) not in (False, None)

    assert [path for path in rows if not known(schema, path.split("."))] == []


def _leaves(values: Any, rows: dict[str, Any], path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values and path not in rows:
        for name, one in values.items():
            yield from _leaves(one, rows, f"{path}.{name}".lstrip("."))
    else:
        yield path


def test_documents_name_what_there_is() -> None:
    """Values, files and Secrets that docs/kubernetes.md names."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    for name in re.findall(r"examples/([\w.]+\.yaml)", text):
        assert (CHART / "examples" / name).is_file()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    roots = "|".join(values)
    for path in re.findall(rf"`((?:{roots})(?:\.[A-Za-z]+)+)(?::[^`]*)?`", text):
        part: Any = values
        for name in path.split("."):
            if name.isupper():
                break
            assert name in part, path
            part = part[name]
    made = set(re.findall(r"create secret generic ([\w-]+)", text)) | {"lmserve-redis-tls"}
    [production] = [example for example in EXAMPLES if example.stem == "production"]
    named = set(re.findall(r"existingSecret: ([\w-]+)", production.read_text()))
    assert named == made
