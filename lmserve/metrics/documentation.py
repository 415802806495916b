"""The table of all metrics in the documentation: `python -m lmserve.metrics.documentation FILE`."""

import sys
from pathlib import Path

from lmserve.metrics.catalogue import CATALOGUE

_BEGIN, _END = "<!-- metrics begin -->", "<!-- metrics end -->"


def table() -> str:
    """A Markdown table of all metrics."""
    rows = ["| metric | kind | labels | |", "| --- | --- | --- | --- |"]
    for one in CATALOGUE.values():
        shared = f", {one.sharing.name.lower()}" if one.sharing else ""
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.shown}` | {one.kind}{shared} | {labels} | {one.about} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """A page with its table renewed."""
    head, rest = text.split(_BEGIN)
    tail = rest.split(_END)[1]
    return f"{head}{_BEGIN}\n{table()}\n{_END}{tail}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text()))
