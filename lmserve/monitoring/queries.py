"""The queries of boards, read from their JSON, as a program asks them of Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Query:
    """An expression of a board.

    Args:
        board: the board's name.
        place: the panel's or the annotation's title.
        expression: with variables in it.
        legend: of its series, as "{{label}}".
    """

    board: str
    place: str
    expression: str
    legend: str


def exported_boards() -> dict[str, dict[str, Any]]:
    """The JSON of all boards by name."""
    folder = files("lmserve.monitoring") / "dashboards"
    return {
        entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    }


def panel_queries(name: str, board: Mapping[str, Any]) -> Iterator[Query]:
    """The queries of a board's panels."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield Query(name, panel["title"], target["expr"], target["legendFormat"])


def annotation_queries(name: str, board: Mapping[str, Any]) -> Iterator[Query]:
    """The queries of a board's annotations."""
    for annotation in board["annotations"]["list"]:
        yield Query(name, annotation["name"], annotation["expr"], annotation["textFormat"])


def filled(expression: str, *, step_s: int, scrape_s: int) -> str:
    """An expression with variables as Grafana fills them in where all is chosen.

    Args:
        expression: with `$cluster`, `$__interval` and the like.
        step_s: seconds between two values.
        scrape_s: seconds between two scrapes.
    """
    values = {
        "__interval": f"{step_s}s",
        "__rate_interval": f"{max(step_s + scrape_s, 4 * scrape_s)}s",
    }
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], ".*"), expression)
