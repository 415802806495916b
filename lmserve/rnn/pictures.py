"""Trainings and memories as pictures: matplotlib's, on white, in colours that all eyes tell apart.

Figures are drawn without a display, and `png` and `svg` make bytes of them. Importing this raises
`DependencyError` where matplotlib is not installed: before anything long has been computed.
"""

import io
import math
from collections.abc import Mapping, Sequence

from lmserve.errors import DependencyError
from lmserve.rnn.checkpoints import Epoch
from lmserve.rnn.probing import FORGOTTEN, LagCurve
from lmserve.rnn.step_log import Log
from lmserve.rnn.stepping import StepFacts

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    raise DependencyError(
        f"pictures need a package that is not installed: {error}",
        "Install it: pip install 'lmserve[rnn]'.",
    ) from error

# Of Okabe and Ito 2008, "Color Universal Design", but for the yellow, which white swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_PANEL = (5.2, 3.6)
# What lies beyond in a picture of lags is not worth its room.
_SMALLEST_NORM, _LARGEST_NORM = 1e-10, 1e4
# Times the first loss: more of what flies away would leave nothing of the others to be seen.
_FLOWN_AWAY = 20


def draw_learning(logs: Sequence[Log], epochs: Sequence[Epoch]) -> Figure:
    """The loss over steps, the perplexities over epochs."""
    figure, (left, right) = _panels(2)
    left.plot([log.step for log in logs], [log.loss for log in logs], lw=1)
    left.set(title="Training loss", xlabel="step", ylabel="loss (nats a word)")
    for name, values in (
        ("training", [epoch.train_perplexity for epoch in epochs]),
        ("validation", [epoch.valid_perplexity for epoch in epochs]),
    ):
        right.plot([epoch.epoch for epoch in epochs], values, marker="o", ms=4, label=name)
    right.set(title="Perplexity", xlabel="epoch", ylabel="perplexity (log scale)", yscale="log")
    right.locator_params(axis="x", integer=True)
    right.legend()
    return figure


def draw_gradients(logs: Sequence[Log], clip_at: float | None) -> Figure:
    """Gradient norms over steps: before and after clipping, and of each group of parameters.

    Args:
        logs: of the steps.
        clip_at: the largest norm that is let through; None where clipping is not by norm.
    """
    figure, (left, right) = _panels(2)
    steps = [log.step for log in logs]
    left.plot(steps, [log.largest_norm for log in logs], lw=0.6, alpha=0.6, label="largest before")
    left.plot(steps, [log.norm for log in logs], lw=1, label="mean before clipping")
    left.plot(steps, [log.clipped_norm for log in logs], lw=1, label="mean after clipping")
    _clip_line(left, clip_at)
    left.set(title="Gradient norm", ylabel="norm of the whole gradient (log scale)")
    for name in logs[0].groups if logs else ():
        right.plot(steps, [log.groups[name] for log in logs], lw=1, label=name)
    right.set(title="By parameters, before clipping", ylabel="norm of the group (log scale)")
    for panel in (left, right):
        panel.set(xlabel="step", yscale="log")
        panel.legend(fontsize=8)
    return figure


def draw_lags(panels: Mapping[str, Mapping[str, LagCurve]]) -> Figure:
    """The norm of dh_t / dh_k by lag, several curves in a panel, its bound dashed.

    Args:
        panels: by their titles, curves by what they are of.
    """
    figure, axes = _panels(len(panels))
    for panel, (title, curves) in zip(axes, panels.items(), strict=True):
        lowest, highest = FORGOTTEN, 1.0
        for number, (name, curve) in enumerate(curves.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            panel.plot(curve.lags, curve.norms, c=colour, lw=1.6, label=name)
            if curve.bound is not None:
                panel.plot(curve.lags, curve.bound, c=colour, lw=1, ls="--")
            lowest = min(lowest, *curve.norms)
            highest = max(highest, *curve.norms, *(curve.bound or ()))
        panel.axhline(FORGOTTEN, c="gray", lw=0.8, ls=":")
        panel.text(
            1,
            FORGOTTEN,
            "1%",
            c="gray",
            fontsize=8,
            ha="right",
            va="bottom",
            transform=panel.get_yaxis_transform(),
        )
        panel.plot([], [], c="gray", lw=1, ls="--", label="bound $(β_W β_h)^{lag}$")
        panel.set(
            title=title,
            xlabel="lag t - k (words)",
            ylabel="norm of $∂h_t / ∂h_k$ (log scale)",
            yscale="log",
            ylim=(max(lowest, _SMALLEST_NORM) / 2, min(highest, _LARGEST_NORM) * 2),
        )
        panel.legend(fontsize=8)
    return figure


def draw_explosion(runs: Mapping[str, Sequence[StepFacts]], clip_at: float) -> Figure:
    """Losses and gradient norms, before clipping, of trainings of the same weights and batches.

    Args:
        runs: by what they are, the facts of every step.
        clip_at: the largest norm that the clipped one lets through.
    """
    figure, (left, right) = _panels(2)
    lowest, highest = math.inf, 0.0
    for name, facts in runs.items():
        losses = [fact.loss / fact.tokens for fact in facts]
        norms = [fact.gradient.norm for fact in facts]
        applied = sum(fact.applied for fact in facts)
        label = name if applied == len(facts) else f"{name}: not finite after step {applied}"
        for panel, values in ((left, losses), (right, norms)):
            # What ends early is drawn above what goes on.
            zorder = 2 if applied == len(facts) else 3
            (line,) = panel.plot(range(1, len(values) + 1), values, label=label, zorder=zorder)
            _mark_end(values, line)
        finite = [loss for loss in losses if math.isfinite(loss)]
        lowest, highest = (
            min(lowest, *finite),
            max(highest, min(max(finite), _FLOWN_AWAY * finite[0])),
        )
    _clip_line(right, clip_at)
    left.set(title="Loss", ylabel="loss (nats a word, log scale)")
    right.set(title="Gradient norm before clipping", ylabel="norm (log scale)")
    for panel in (left, right):
        panel.set(xlabel="step", yscale="log")
        panel.legend(fontsize=8)
    left.set_ylim(lowest / 1.5, highest * 1.5)
    return figure


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    return content.getvalue()


def svg(figure: Figure) -> bytes:
    """A figure as the content of an SVG file, without the date of its making."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side."""
    width, height = _PANEL
    figure = Figure(figsize=(width * count, height), layout="constrained", facecolor="white")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for panel in axes:
        panel.set_prop_cycle(color=_COLOURS)
        panel.grid(alpha=0.25)
    return figure, axes


def _clip_line(panel: Axes, clip_at: float | None) -> None:
    if clip_at is not None:
        panel.axhline(clip_at, c="gray", ls="--", lw=1, label=f"clipped at {clip_at:g}")


def _mark_end(values: Sequence[float], line: Line2D) -> None:
    """Marks the last number before those that are not finite."""
    finite = [step for step, value in enumerate(values, 1) if math.isfinite(value)]
    if len(finite) < len(values):
        line.set(marker="X", markevery=[finite[-1] - 1], ms=8)
