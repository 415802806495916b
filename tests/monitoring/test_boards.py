"""Boards: complete, drawn on a grid without overlaps, and over declared metrics alone."""

import json
from typing import Any

import promql_parser
import pytest

from lmserve.metrics.catalogue import CATALOGUE
from lmserve.metrics.declaration import Declaration, Kind
from lmserve.monitoring.boards import BOARDS, FOLDER
from lmserve.monitoring.layout import as_json
from lmserve.monitoring.queries import (
    Query,
    annotation_queries,
    exported_boards,
    filled,
    panel_queries,
)

# Not declared by lmserve: Prometheus's own, and those of Ray 2.60 that boards use.
OTHERS = {
    "up",
    "autoscaler_failed_create_nodes_total",
    "autoscaler_pending_nodes",
    "ray_actors",
    "ray_cluster_active_nodes",
    "ray_node_cpu_utilization",
    "ray_node_disk_free",
    "ray_node_disk_usage",
    "ray_node_mem_total",
    "ray_node_mem_used",
    "ray_node_network_receive_speed",
    "ray_node_network_send_speed",
    "ray_object_store_memory",
    "ray_resources",
    "ray_tasks",
}
EXPORTED = exported_boards()
QUERIES = [
    query
    for name, board in EXPORTED.items()
    for query in (*panel_queries(name, board), *annotation_queries(name, board))
]


def shown_names(metric: Declaration) -> set[str]:
    if metric.kind is Kind.HISTOGRAM:
        return {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return {metric.shown}


DECLARED = {name: metric for metric in CATALOGUE.values() for name in shown_names(metric)}


def selectors(expression: str) -> list[Any]:
    """All series that an expression selects."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(filled(expression, step_s=15, scrape_s=15)), visit)
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_exported_json_is_what_the_code_makes() -> None:
    assert set(EXPORTED) == set(BOARDS)
    for name, make in BOARDS.items():
        written = (FOLDER / f"{name}.json").read_text()
        assert written == as_json(make()), "run: python -m lmserve.monitoring.boards"


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}: {query.place}")
def test_every_expression_is_over_metrics_that_exist(query: Query) -> None:
    chosen = selectors(query.expression)
    assert chosen
    for selector in chosen:
        assert selector.name in DECLARED or selector.name in OTHERS
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert "cluster" in labels
        if selector.name in DECLARED:
            assert labels <= {"cluster", *DECLARED[selector.name].labels}


def test_the_list_of_others_has_none_too_many() -> None:
    used = {one.name for query in QUERIES for one in selectors(query.expression)}
    assert used >= OTHERS


def test_every_metric_of_the_service_builds_and_trainings_is_shown() -> None:
    used = {one.name for query in QUERIES for one in selectors(query.expression)}
    assert [metric.name for metric in CATALOGUE.values() if not shown_names(metric) & used] == []


@pytest.mark.parametrize("name", EXPORTED)
def test_every_panel_has_a_title_a_unit_and_a_description(name: str) -> None:
    for panel in panels(EXPORTED[name]):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", EXPORTED)
def test_panels_fill_the_grid_without_overlaps(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in EXPORTED[name]["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


@pytest.mark.parametrize("name", EXPORTED)
def test_variables_are_declared_before_expressions_use_them(name: str) -> None:
    declared = {one["name"] for one in EXPORTED[name]["templating"]["list"]}
    text = json.dumps([query.expression for query in QUERIES if query.board == name])
    assert {"datasource", "cluster"} <= declared
    assert {one for one in ("model", "run") if f"${one}" in text} == declared & {"model", "run"}


def test_boards_and_their_panels_have_names_of_their_own() -> None:
    assert len({board["uid"] for board in EXPORTED.values()}) == len(EXPORTED)
    for board in EXPORTED.values():
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)


def test_every_board_marks_deployments_or_starts_and_restarts() -> None:
    for board in EXPORTED.values():
        assert len(board["annotations"]["list"]) == 2
