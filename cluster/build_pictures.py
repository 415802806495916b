"""A build's summary as pictures: see `cluster.summary` for what the summaries hold."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lmserve.pages.figures import COLOURS, LIMIT, panels

Summary = Mapping[str, Any]
_MB = 1e6


def draw_timeline(summary: Summary) -> Figure:
    """Stages of the driver and tasks of workers over time, and restarts."""
    origin_s = _origin_s(summary)
    colours = _stage_colours(summary)
    figure, (panel,) = panels(1, height=1.6 + 0.3 * min(summary["workers"], 24))
    for stage in summary["stages"]:
        _bar(panel, -1, stage["began_s"] - origin_s, stage["wall_s"], colours[stage["name"]])
    for stage in summary["tasks"]:
        for span in stage["spans"]:
            wall_s = span["ended_s"] - span["began_s"]
            start_s = span["began_s"] - origin_s
            _bar(panel, span["worker"], start_s, wall_s, colours[stage["stage"]])
    for restart in summary["restarts"]:
        panel.plot(restart["at_s"] - origin_s, restart["worker"], "X", c=LIMIT, ms=9, mec="white")
    names = ["all", *(f"worker {worker}" for worker in range(summary["workers"]))]
    step = -(-len(names) // 25)
    panel.set_yticks(range(-1, len(names) - 1)[::step], names[::step])
    panel.invert_yaxis()
    panel.set(xlabel="seconds", xlim=(0, summary["took_s"]))
    panel.legend(
        handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
        ncols=min(len(colours), 7),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
    )
    return figure


def draw_rates(summary: Summary) -> Figure:
    """Rows and MB a second of each stage that made any."""
    figure, (left, right) = panels(2)
    made = [stage for stage in summary["stages"] if stage["rows"] and stage["wall_s"]]
    names = [stage["name"] for stage in made]
    left.barh(names, [stage["rows"] / stage["wall_s"] for stage in made], color=COLOURS[0])
    right.barh(
        names, [stage["bytes_written"] / _MB / stage["wall_s"] for stage in made], color=COLOURS[2]
    )
    left.set(title="Rows a second", xlabel="rows/s (log scale)", xscale="log")
    right.set(title="Written a second", xlabel="MB/s")
    for panel in (left, right):
        panel.invert_yaxis()
    return figure


def draw_memory(summary: Summary) -> Figure:
    """Peak memory up to each stage's end, against a worker's share of the limit."""
    figure, (left, right) = panels(2)
    stages = summary["stages"]
    peaks = [stage["peak_memory_bytes"] / _MB for stage in stages]
    left.barh([stage["name"] for stage in stages], peaks, color=COLOURS[0])
    left.invert_yaxis()
    share = summary["memory_bytes"] / summary["workers"] / _MB
    if share < 4 * max(peaks):
        left.axvline(share, c=LIMIT, ls="--", label=f"a worker's share: {share:,.0f} MB")
        left.legend(fontsize=8)
    left.set(title="Largest process, up to the stage's end", xlabel="resident memory (MB)")
    _draw_disk(right, summary)
    return figure


def _draw_disk(panel: Axes, summary: Summary) -> None:
    disk = summary["temporary_disk"]
    origin_s = _origin_s(summary)
    at_s = [at - origin_s for at, _ in disk["samples"]]
    used = [size_bytes / _MB for _, size_bytes in disk["samples"]]
    panel.plot(at_s, used, c=COLOURS[2], marker=".", ms=3, label="used")
    panel.fill_between(at_s, used, color=COLOURS[2], alpha=0.2)
    estimate = disk["estimated_bytes"] / _MB
    panel.axhline(estimate, c=LIMIT, ls="--", label=f"estimated before: {estimate:,.0f} MB")
    panel.set(title="Temporary disk", xlabel="seconds", ylabel="MB", ylim=(0, None))
    panel.legend(fontsize=8)


def draw_balance(tasks: Sequence[Summary]) -> Figure:
    """How unlike the tasks of a stage are: their times and rows against the mean."""
    figure, axes = panels(2)
    for panel, what, title in zip(
        axes, ("wall_s", "rows"), ("Time of a task", "Rows of a task"), strict=True
    ):
        shown = [stage for stage in tasks if stage[what]["mean"] > 0]
        boxes = [_box(stage, what) for stage in shown]
        line: dict[str, Any] = {"color": COLOURS[5], "linewidth": 1.4}
        panel.bxp(
            boxes,
            orientation="horizontal",
            showfliers=False,
            boxprops=line,
            whiskerprops=line,
            capprops=line,
            medianprops={"color": LIMIT, "linewidth": 1.8},
        )
        panel.axvline(1, c=COLOURS[2], lw=1)
        panel.invert_yaxis()
        panel.set(title=title, xlabel="times the stage's mean", xlim=(0, None))
    return figure


def _box(stage: Summary, what: str) -> dict[str, Any]:
    mean = stage[what]["mean"]
    at = {
        percent: value / mean
        for percent, value in zip(stage["percents"], stage[what]["at"], strict=True)
    }
    return {
        "label": f"{stage['stage']} ({stage['tasks']:,})",
        "whislo": at[0],
        "q1": at[25],
        "med": at[50],
        "q3": at[75],
        "whishi": at[100],
    }


def _bar(panel: Axes, lane: int, start_s: float, wall_s: float, colour: str) -> None:
    panel.barh(lane, wall_s, left=start_s, height=0.75, color=colour, ec=colour, lw=0.3)


def _stage_colours(summary: Summary) -> dict[str, str]:
    names = dict.fromkeys(stage["name"] for stage in summary["stages"])
    lightness = ("", "80")
    return {
        name: COLOURS[i % len(COLOURS)] + lightness[i // len(COLOURS) % 2]
        for i, name in enumerate(names)
    }


def _origin_s(summary: Summary) -> float:
    return datetime.fromisoformat(summary["began"]).timestamp()
