"""A board: its variables, its annotations, and rows of panels."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from lmserve.monitoring.panels import SOURCE, Panel

_COLUMNS = 24
_TAG = "lmserve"

# Panels beside each other, equally wide; 24 is a multiple of their number.
Line = Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading.

    Args:
        title: the heading.
        lines: of panels.
    """

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the board's top; all at first.

    Args:
        name: in expressions, with a `$`.
        series: whose label has the values.
        label: has them.
    """

    name: str
    series: str
    label: str


CLUSTER = Variable("cluster", "up", "cluster")


class Annotation(AnnotationQuery):
    """Marks moments on all panels of a board.

    Args:
        name: what happened.
        expression: has series at these moments.
        text: of a mark, as "{{label}}".
        colour: of the marks.
        at_value: whether the series' values are the moments, in milliseconds since 1970.
    """

    def __init__(
        self, name: str, expression: str, text: str, colour: str, *, at_value: bool = False
    ) -> None:
        super().__init__(name=name, datasource=SOURCE, icon_color=colour, expr=expression)
        self._text = text
        self._at_value = at_value

    def to_json(self) -> dict[str, object]:
        """With what Prometheus's marks have, and the library does not know."""
        return {
            **super().to_json(),
            "titleFormat": self.name,
            "textFormat": self._text,
            "step": "30s",
            "useValueForTime": self._at_value,
        }


def board(
    uid: str,
    title: str,
    about: str,
    rows: Iterable[Row],
    *,
    variables: Iterable[Variable],
    annotations: Iterable[Annotation],
) -> Dashboard:
    """A board with links to the others."""
    made = (
        build.Dashboard(f"lmserve: {title}")
        .uid(f"lmserve-{uid}")
        .description(about)
        .tags([_TAG])
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .link(_to_the_others())
        .with_variable(
            build.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for variable in variables:
        made.with_variable(_choice(variable))
    for row in rows:
        made.with_row(build.Row(row.title))
        for line in row.lines:
            for panel in line:
                made.with_panel(panel.span(_COLUMNS // len(line)))
    finished = made.build()
    finished.annotations = AnnotationContainer(list_val=list(annotations))
    for number, placed in enumerate(finished.panels or (), start=1):
        placed.id_val = number
    return finished


def as_json(made: Dashboard) -> str:
    """The board as Grafana imports it; the same board gives the same text."""
    return json.dumps(made, cls=JSONEncoder, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _choice(variable: Variable) -> build.QueryVariable:
    return (
        build.QueryVariable(variable.name)
        .label(variable.name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({variable.series}, {variable.label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort(1))
        .multi(True)
        .include_all(True)
        # Also what has no such label.
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _to_the_others() -> build.DashboardLink:
    return (
        build.DashboardLink("lmserve")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([_TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
