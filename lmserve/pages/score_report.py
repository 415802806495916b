"""A page about the scores of many texts."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lmserve.pages.figures import COLOURS, LIMIT, panels, picture
from lmserve.pages.html import heading, page, paragraph, table
from lmserve.score_summary import Example, ScoreSummary, edges

_PARTS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def score_page(title: str, facts: Iterable[Sequence[Any]], summary: ScoreSummary) -> str:
    """The page.

    Args:
        title: of it.
        facts: names and values, such as the model's.
        summary: of all texts.
    """
    quantiles = [(f"{part:.0%}", summary.quantile(part)) for part in _PARTS]
    return page(
        title,
        [
            table("What was scored", ("", ""), [*facts, *_totals(summary)]),
            heading("Perplexity of texts"),
            picture(partial(draw_perplexities, summary), "histogram of perplexity"),
            table("So many of the texts have at most", ("texts", "perplexity"), quantiles),
            paragraph("Perplexities at parts of the texts are read from bins 6 percent wide."),
            heading("Examples"),
            _examples("Lowest perplexity", summary.lowest()),
            _examples("About the median", summary.middle()),
            _examples("Highest perplexity", summary.highest()),
            heading("Over time"),
            picture(partial(draw_rate, summary), "texts a second over time"),
        ],
    )


def draw_perplexities(summary: ScoreSummary) -> Figure:
    """The histogram, its quartiles marked."""
    figure, (panel,) = panels(1)
    bounds = edges()
    panel.bar(bounds[:-1], summary.bins, width=np.diff(bounds), align="edge", color=COLOURS[0])
    for part, style in ((0.25, ":"), (0.5, "-"), (0.75, ":")):
        value = summary.quantile(part)
        panel.axvline(value, c=LIMIT, ls=style, lw=1.2, label=f"{part:.0%}: {value:,.4g}")
    filled = np.flatnonzero(summary.bins)
    if len(filled):
        panel.set_xlim(bounds[filled[0]] / 1.1, bounds[filled[-1] + 1] * 1.1)
    panel.set(xlabel="perplexity (log scale)", ylabel="texts", xscale="log")
    panel.legend(fontsize=8)
    return figure


def draw_rate(summary: ScoreSummary) -> Figure:
    """Texts a second."""
    figure, (panel,) = panels(1, height=2.4)
    rates = list(summary.rates())
    # Each rate holds from the sample before its own.
    ends_s, heights = zip(*rates, strict=True) if rates else ((), ())
    panel.stairs(heights, (0.0, *ends_s), color=COLOURS[2], fill=True)
    panel.set(xlabel="seconds", ylabel="texts/s", ylim=(0, None), xlim=(0, None))
    return figure


def _totals(summary: ScoreSummary) -> list[tuple[str, Any]]:
    seconds, _ = summary.samples[-1]
    rows: list[tuple[str, Any]] = [
        ("perplexity of all", summary.perplexity),
        ("texts", summary.texts),
        ("words, sentence ends included", summary.tokens),
        ("unknown words", f"{summary.oov:,}, {_percent(summary.oov, summary.tokens)}"),
        (
            "texts with unknown words",
            f"{summary.texts_with_oov:,}, {_percent(summary.texts_with_oov, summary.texts)}",
        ),
        ("seconds", round(seconds, 2)),
    ]
    if summary.impossible:
        rows.append(("texts of probability 0, in no perplexity here", summary.impossible))
    if summary.empty:
        rows.append(("texts without a word", summary.empty))
    return rows


def _examples(caption: str, examples: Sequence[Example]) -> str:
    if not any(example.text for example in examples):
        rows: list[tuple[Any, ...]] = [(one.number, one.perplexity) for one in examples]
        return table(caption, ("text number", "perplexity"), rows)
    rows = [(one.number, one.perplexity, one.text) for one in examples]
    return table(caption, ("text number", "perplexity", "text"), rows)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.2f}%"
