"""Measurements as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.memory import Sample


def draw_memory(path: Path, runs: Mapping[str, tuple[Sequence[Sample], int]]) -> None:
    """Memory over time, a panel a run, with the limit that each was given, in bytes."""
    figure = Figure(figsize=(7, 2.6 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
    for panel, (title, (samples, limit)) in zip(panels, runs.items(), strict=True):
        seconds = [sample.at_s for sample in samples]
        panel.plot(seconds, [sample.ours / 1e9 for sample in samples], label="driver and workers")
        panel.plot(seconds, [sample.ray / 1e9 for sample in samples], label="Ray's own", lw=0.8)
        panel.axhline(limit / 1e9, ls="--", c="gray", lw=0.8, label="--memory")
        panel.set(title=title, xlabel="seconds", ylabel="GB", ylim=(0, None))
        panel.legend(fontsize=8)
    figure.savefig(path)


def draw_growth(path: Path, tokens: Sequence[int], curves: Mapping[str, Sequence[float]]) -> None:
    """What grows with the text: a panel for each curve, over millions of tokens."""
    figure = Figure(figsize=(3.2 * len(curves), 3), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for panel, (name, values) in zip(panels, curves.items(), strict=True):
        panel.plot([count / 1e6 for count in tokens], values, marker="o")
        panel.set(title=name, xlabel="million tokens", xlim=(0, None), ylim=(0, None))
    figure.savefig(path)
