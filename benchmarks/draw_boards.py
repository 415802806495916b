"""Boards as pictures: each panel drawn from the data that its own queries have in Prometheus.

python -m benchmarks.draw_boards http://127.0.0.1:9090 docs --minutes 5
"""

import io
import json
import math
import textwrap
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image
from typer import run

from lmserve.monitoring.queries import exported_boards, filled

_POINTS = 120
_COLUMN_IN, _CELL_IN = 0.6, 0.3
_HEAD_IN = 0.5
_DPI, _COLOURS = 100, 64
_LEGENDS, _LEGEND_IN, _LEGEND_LINE_IN = 8, 1.75, 0.11
# Expressions, and the room that a character and a line of them take.
_PRINT: Mapping[str, Any] = {"size": 5.2, "family": "monospace", "color": "#555555"}
_PRINT_CHARACTER_IN, _PRINT_LINE_IN = 0.0465, 0.088
# Of Grafana's units: a factor, and what is written behind the number.
_UNITS = {
    "percentunit": (100, "%"),
    "percent": (1, "%"),
    "bytes": (1, "B"),
    "Bps": (1, "B/s"),
    "s": (1, "s"),
    "reqps": (1, "/s"),
    "rowsps": (1, "/s"),
    "suffix: words/s": (1, "/s"),
}
Series = tuple[str, list[float], list[float]]


def main(url: str, folder: Path, minutes: float = 5, ago: float = 0, scrape_s: int = 1) -> None:
    """Draws into FOLDER what all boards of a Prometheus at URL showed, until some minutes AGO."""
    end_s = time.time() - 60 * ago
    for name, board in exported_boards().items():
        ask = Asking(url, end_s - 60 * minutes, end_s, scrape_s)
        figure = draw(board, ask)
        save(figure, folder / f"monitoring-{name}.png")
        plt.close(figure)


def save(figure: Figure, path: Path) -> None:
    """Writes a picture in few colours, which makes it small."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DPI)
    few = Image.open(drawn).convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
    few.save(path, optimize=True)


class Asking:
    """Queries over a range of time."""

    def __init__(self, url: str, start_s: float, end_s: float, scrape_s: int) -> None:
        self._url, self.start_s, self.end_s = url, start_s, end_s
        self.minutes = (end_s - start_s) / 60
        self._scrape_s = scrape_s
        self._step_s = max(scrape_s, math.ceil((end_s - start_s) / _POINTS))

    def series(self, target: Mapping[str, str]) -> list[Series]:
        """Legend, minutes and values of each series of a panel's query."""
        query = filled(target["expr"], step_s=self._step_s, scrape_s=self._scrape_s)
        asked = {"query": query, "start": self.start_s, "end": self.end_s, "step": self._step_s}
        address = f"{self._url}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address) as answer:
            found = json.load(answer)["data"]["result"]
        return [
            (_legend(target["legendFormat"], one["metric"]), *self._course(one["values"]))
            for one in found
        ]

    def _course(self, points: list[tuple[float, str]]) -> tuple[list[float], list[float]]:
        """Minutes and values, with none where a series had paused."""
        minutes, values, before = [], [], math.inf
        for moment, value in points:
            if moment - before > 1.5 * self._step_s:
                minutes.append((before + self._step_s - self.start_s) / 60)
                values.append(math.nan)
            minutes.append((moment - self.start_s) / 60)
            values.append(float(value))
            before = moment
        return minutes, values


def draw(board: Mapping[str, Any], ask: Asking) -> Figure:
    """A picture of a board, laid out as Grafana lays it out."""
    panels = board["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * _COLUMN_IN, rows * _CELL_IN + _HEAD_IN
    figure = plt.figure(figsize=(width, height), facecolor="#f4f5f5")
    figure.text(
        0.01, 1 - _HEAD_IN / 2 / height, board["title"], size=16, weight="bold", va="center"
    )
    for panel in panels:
        grid = panel["gridPos"]
        left, top = grid["x"] / 24, 1 - (_HEAD_IN + grid["y"] * _CELL_IN) / height
        tall, wide = grid["h"] * _CELL_IN / height, grid["w"] / 24
        if panel["type"] == "row":
            figure.text(0.01, top - tall / 2, panel["title"], size=12, weight="bold", va="center")
            continue
        _draw_panel(figure, panel, (left, top - tall, wide, tall), ask)
    return figure


def _draw_panel(
    figure: Figure, panel: Mapping[str, Any], box: tuple[float, float, float, float], ask: Asking
) -> None:
    left, bottom, wide, tall = box
    x, y = 1 / figure.get_figwidth(), 1 / figure.get_figheight()
    _draw_card(figure, panel["title"], box)
    lines = [line for target in panel["targets"] for line in _wrapped(target["expr"], wide / x)]
    figure.text(left + 0.1 * x, bottom + 0.08 * y, "\n".join(lines), va="bottom", **_PRINT)
    data = [one for target in panel["targets"] for one in ask.series(target)]
    columns = max(1, int(wide / x / _LEGEND_IN))
    legends = math.ceil(min(len(data), _LEGENDS) / columns)
    foot = (0.16 + _PRINT_LINE_IN * len(lines)) * y
    head = (0.3 + _LEGEND_LINE_IN * legends * (panel["type"] == "timeseries")) * y
    area = (left + 0.6 * x, bottom + foot + 0.2 * y, wide - 0.72 * x, tall - foot - head - 0.24 * y)
    kind = panel["type"]
    if kind == "stat":
        _number(figure, panel, data, (left + 0.12 * x, bottom + foot, wide, tall - foot - head))
    elif kind == "bargauge":
        _bars(figure.add_axes(area), panel, data)
    elif kind == "heatmap":
        _heat(figure.add_axes(area), data)
    else:
        _curves(figure.add_axes(area, xlim=(0, ask.minutes)), panel, data, columns)


def _draw_card(figure: Figure, title: str, box: tuple[float, float, float, float]) -> None:
    left, bottom, wide, tall = box
    x, y = 1 / figure.get_figwidth(), 1 / figure.get_figheight()
    card = plt.Rectangle(
        (left + 0.04 * x, bottom + 0.04 * y),
        wide - 0.08 * x,
        tall - 0.08 * y,
        facecolor="white",
        edgecolor="#dddddd",
        transform=figure.transFigure,
        zorder=-1,
    )
    figure.add_artist(card)
    figure.text(left + 0.12 * x, bottom + tall - 0.1 * y, title, size=9, weight="bold", va="top")


def _curves(axes: Axes, panel: Mapping[str, Any], data: list[Series], columns: int) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    for i, (legend, minutes, values) in enumerate(data):
        axes.plot(minutes, values, ".-", lw=1.2, ms=1.5, label=legend if i < _LEGENDS else None)
    finite = [v for _, _, values in data for v in values if math.isfinite(v)]
    if custom.get("scaleDistribution", {}).get("type") == "log" and any(v > 0 for v in finite):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif finite:
        axes.set_ylim(bottom=0, top=max(finite) * 1.15 or 1)
    for limit in _limits(panel):
        if finite and limit <= max(finite) * 2:
            axes.axhline(limit, color="red", lw=0.7, ls="--")
    _finish(axes, panel)
    if any(legend for legend, _, _ in data):
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.98),
            fontsize=5.5,
            frameon=False,
            ncols=columns,
            labelspacing=0.15,
            columnspacing=1,
        )


def _bars(axes: Axes, panel: Mapping[str, Any], data: list[Series]) -> None:
    names = [legend for legend, _, _ in data]
    axes.barh(range(len(data)), [values[-1] for _, _, values in data], color="#b5e0b0")
    for i, name in enumerate(names):
        axes.text(0, i, f" {name}: {_shown(panel, data[i][2][-1])}", size=5.5, va="center")
    axes.set_yticks([])
    axes.tick_params(labelsize=6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _number(
    figure: Figure, panel: Mapping[str, Any], data: list[Series], box: tuple[float, ...]
) -> None:
    left, bottom, _, tall = box
    said = [
        f"{legend}: {_shown(panel, values[-1])}" if legend else _shown(panel, values[-1])
        for legend, _, values in data
    ]
    size = 17 if len(said) == 1 and len(said[0]) < 12 else 8
    figure.text(
        left,
        bottom + tall / 2,
        "\n".join(said[:3]) or "no data",
        size=size,
        color="#37872d",
        va="center",
    )


def _heat(axes: Axes, data: list[Series]) -> None:
    """Counts of each bucket alone; Prometheus's have all smaller values in them."""
    ordered = sorted(data, key=lambda one: float(one[0]))
    before: dict[float, float] = {}
    cells = []
    for _, minutes, values in ordered:
        now = dict(zip(minutes, values, strict=True))
        cells.append([now[m] - before.get(m, 0) for m in minutes])
        before = now
    if ordered:
        minutes = ordered[0][1]
        axes.pcolormesh(minutes, range(len(ordered)), cells, cmap="Oranges", shading="nearest")
        axes.set_yticks(range(len(ordered)), [one[0] for one in ordered])
    axes.tick_params(labelsize=5.5)


def _finish(axes: Axes, panel: Mapping[str, Any]) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _shown(panel, value)))
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _limits(panel: Mapping[str, Any]) -> list[float]:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    return [step["value"] for step in steps if step["value"] is not None]


def _shown(panel: Mapping[str, Any], value: float) -> str:
    factor, unit = _UNITS.get(panel["fieldConfig"]["defaults"]["unit"], (1, ""))
    value *= factor
    if not math.isfinite(value):
        return "∞" if value > 0 else "none"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}".strip()


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    return pattern


def _wrapped(expression: str, width_in: float) -> list[str]:
    """Lines of small print; between dollars, Matplotlib would read formulas."""
    lines = textwrap.wrap(
        expression, int((width_in - 0.2) / _PRINT_CHARACTER_IN), break_on_hyphens=False
    )
    return [line.replace("$", r"\$") for line in lines]


if __name__ == "__main__":
    run(main)
