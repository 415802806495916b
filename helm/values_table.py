"""The chart's README: its table is made from the comments of values.yaml.

A comment that begins with `# --` tells of the value below it, and of all that is in it.

    python helm/values_table.py           # writes the table
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "lmserve"
_BEGIN, _END = "<!-- values begin -->\n", "<!-- values end -->\n"
_KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w.-]+):(?P<value>.*)$")
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Row:
    """A value: its path, its default as YAML, and what its comment tells."""

    path: str
    default: str
    told: str


def rows(text: str) -> Iterator[Row]:
    """Yields a row for each value with a comment, and for each that is part of none with one."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    explained: set[str] = set()
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
            continue
        found = _KEY.match(line)
        if found and not stripped.startswith("-"):
            depth = len(found["indent"])
            path = [*(step for step in path if step[0] < depth), (depth, found["name"])]
            names = [name for _, name in path]
            value = _at(values, names)
            told = comment[0][3:] if comment and comment[0].startswith("-- ") else None
            words = " ".join([told, *comment[1:]]) if told else ""
            whole = ".".join(names)
            above = {".".join(names[:k]) for k in range(1, len(names))}
            part = not told and bool(above & explained)
            if (
                value is not _WITHIN_A_LIST
                and not part
                and (told or _is_leaf(value, found["value"]))
            ):
                explained |= {whole} if told else set()
                yield Row(whole, _shown(value), words)
        comment = []


def table(text: str) -> str:
    """The table in Markdown."""
    lines = ["| value | default | |", "| --- | --- | --- |"]
    for row in rows(text):
        default = row.default.replace("|", "\\|")
        lines.append(f"| `{row.path}` | `{default}` | {row.told} |")
    return "\n".join(lines) + "\n"


def readme(old: str, text: str) -> str:
    """A README with the table between its marks."""
    head, _, rest = old.partition(_BEGIN)
    return head + _BEGIN + table(text) + _END + rest.partition(_END)[2]


_WITHIN_A_LIST = object()


def _at(values: Any, names: list[str]) -> Any:
    for name in names:
        if not isinstance(values, dict) or name not in values:
            return _WITHIN_A_LIST
        values = values[name]
    return values


def _is_leaf(value: Any, written: str) -> bool:
    # A map that stands on its key's line is told as a whole.
    return not isinstance(value, dict) or bool(written.strip())


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else "see values.yaml"


def main() -> None:
    """Writes the table into the README."""
    path = CHART / "README.md"
    path.write_text(readme(path.read_text(), (CHART / "values.yaml").read_text()))


if __name__ == "__main__":
    main()
