"""Every expression of every board, asked of a real Prometheus that watched real work."""

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from watched_cluster import SCRAPE_S, Watched, watched_cluster

from lmserve.monitoring.queries import (
    Query,
    annotation_queries,
    exported_boards,
    filled,
    panel_queries,
)

BOARDS = exported_boards()
PANELS = [query for name, board in BOARDS.items() for query in panel_queries(name, board)]
MARKS = [query for name, board in BOARDS.items() for query in annotation_queries(name, board)]
# Nothing was killed.
SILENT = {"Worker restart", "Restart"}
# Within which what happens is scraped; Ray tells of itself every ten seconds.
APPEARS_S = 90.0


@pytest.fixture(scope="module")
def watched(tiny_model_path: Path) -> Iterator[Watched]:
    with (
        tempfile.TemporaryDirectory(prefix="lm", ignore_cleanup_errors=True) as name,
        watched_cluster(Path(name), tiny_model_path) as cluster,
    ):
        yield cluster


def values(watched: Watched, query: Query) -> list[float]:
    """All numbers that an expression has come to so far."""
    expression = filled(query.expression, step_s=SCRAPE_S, scrape_s=SCRAPE_S)
    found = [float(value) for one in watched.course(expression) for _, value in one["values"]]
    return [value for value in found if not math.isnan(value)]


def test_every_panel_has_data(watched: Watched) -> None:
    empty, end_s = PANELS, time.monotonic() + APPEARS_S
    while empty := [query for query in empty if not values(watched, query)]:
        assert time.monotonic() < end_s, empty
        time.sleep(SCRAPE_S)


def test_annotations_mark_what_happened(watched: Watched) -> None:
    for query in MARKS:
        assert bool(values(watched, query)) == (query.place not in SILENT), query
