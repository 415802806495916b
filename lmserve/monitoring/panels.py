"""The kinds of panels that boards have: curves, numbers, bars and heat maps."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, stat, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | heatmap.Panel

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLOURS = ("green", "orange", "red")
# Cells of the grid.
_HEIGHT = 8
_NUMBER_HEIGHT = 4


def curves(
    title: str,
    unit: str,
    about: str,
    queries: Sequence[tuple[str, str]],
    *,
    limits: Sequence[float] = (),
    stacked: bool = False,
    logarithmic: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """Values over time.

    Args:
        title: of the panel.
        unit: one of Grafana's: "s", "bytes", "percentunit", "short", "reqps".
        about: what it shows, and what a bad one means.
        queries: expressions, each with what its legend says, as "{{label}}".
        limits: from which values are worth a look, and bad; drawn as lines.
        stacked: onto each other, as parts of a whole.
        logarithmic: the axis.
        most: the largest value that there can be.
    """
    panel = _plain_curves().title(title).unit(unit).description(about)
    for query in _queries(queries):
        panel.with_target(query.range())
    if stacked:
        panel.fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if logarithmic:
        panel.scale_distribution(
            common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        )
    if most is not None:
        panel.max(most)
    if limits:
        panel.thresholds(_thresholds(limits)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    return panel


def number(
    title: str,
    unit: str,
    about: str,
    expression: str,
    *,
    legend: str = "",
    limits: Sequence[float] = (),
) -> stat.Panel:
    """The last value, large, with its course behind it.

    Args:
        title: of the panel.
        unit: one of Grafana's.
        about: what it shows.
        expression: with one value, or one for each legend.
        legend: what tells several values apart.
        limits: from which it is orange, and red.
    """
    panel = (
        stat.Panel()
        .title(title)
        .unit(unit)
        .description(about)
        .datasource(SOURCE)
        .height(_NUMBER_HEIGHT)
        .thresholds(_thresholds(limits))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for query in _queries([(expression, legend)]):
        panel.with_target(query.range())
    return panel


def bars(
    title: str,
    unit: str,
    about: str,
    expression: str,
    legend: str,
    *,
    most: float | None = None,
) -> bargauge.Panel:
    """The last value of each of several things, as a bar.

    Args:
        title: of the panel.
        unit: one of Grafana's.
        about: what it shows.
        expression: what is measured.
        legend: what tells the bars apart.
        most: what a full bar stands for; without, the largest of them.
    """
    panel = (
        bargauge.Panel()
        .title(title)
        .unit(unit)
        .description(about)
        .datasource(SOURCE)
        .height(_HEIGHT)
        .min(0)
        .orientation(VizOrientation.HORIZONTAL)
        .thresholds(_thresholds(()))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for query in _queries([(expression, legend)]):
        # Not of the whole time that the board shows: what is no more has no bar.
        panel.with_target(query.instant())
    return panel if most is None else panel.max(most)


def heat(title: str, unit: str, about: str, expression: str) -> heatmap.Panel:
    """How values are distributed, over time.

    Args:
        title: of the panel.
        unit: of the values, one of Grafana's.
        about: what it shows.
        expression: counts by bucket, labelled `le`.
    """
    return (
        heatmap.Panel()
        .title(title)
        .unit("short")
        .description(about)
        .datasource(SOURCE)
        .height(_HEIGHT)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
            .exponent(0.5)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .with_target(
            Dataquery()
            .expr(expression)
            .legend_format("{{le}}")
            .format(PromQueryFormat.HEATMAP)
            .datasource(SOURCE)
            .ref_id("A")
            .range()
        )
    )


def _plain_curves() -> timeseries.Panel:
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    return (
        timeseries.Panel()
        .datasource(SOURCE)
        .height(_HEIGHT)
        .min(0)
        .line_width(1.5)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(tooltip.sort(SortOrder.DESCENDING))
    )


def _queries(queries: Sequence[tuple[str, str]]) -> list[Dataquery]:
    return [
        Dataquery().expr(expression).legend_format(legend).datasource(SOURCE).ref_id(chr(65 + i))
        for i, (expression, legend) in enumerate(queries)
    ]


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def _thresholds(limits: Sequence[float]) -> dashboard.ThresholdsConfig:
    """Green, then orange from the first limit and red from the last."""
    colours = _COLOURS if len(limits) > 1 else (_COLOURS[0], _COLOURS[-1])
    steps = [
        Threshold(value, colour) for value, colour in zip((None, *limits), colours, strict=False)
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
