"""Pictures for pages: matplotlib's, each drawn twice, for light and for dark pages.

matplotlib is in the extra `reports`.
"""

import base64
import io
from collections.abc import Callable
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Of Okabe and Ito 2008, "Color Universal Design", those that stand out from white and from black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#999999")
LIMIT = "#D55E00"
_LIGHT = {"text": "#1c1c1c", "back": "#ffffff", "grid": "#b0b0b0"}
_DARK = {"text": "#e4e4e4", "back": "#161616", "grid": "#606060"}


def panels(count: int, *, width: float = 10.0, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for panel in axes:
        panel.set_prop_cycle(color=COLOURS)
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def picture(draw: Callable[[], Figure], description: str) -> str:
    """What `draw` draws, inside a page, in the colours that its reader has chosen.

    As images, SVGs can run nothing and fetch nothing.
    """
    light, dark = (_data(draw, colours) for colours in (_LIGHT, _DARK))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img class="drawn" alt="{escape(description)}" src="{light}"></picture>'
    )


def _data(draw: Callable[[], Figure], colours: dict[str, str]) -> str:
    content = io.BytesIO()
    with rc_context(_style(colours)):
        draw().savefig(content, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"


def _style(colours: dict[str, str]) -> dict[Any, Any]:
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return dict.fromkeys(names, colours["text"]) | {
        "figure.facecolor": colours["back"],
        "axes.facecolor": colours["back"],
        "legend.facecolor": colours["back"],
        "savefig.facecolor": colours["back"],
        "grid.color": colours["grid"],
        "font.size": 9,
        "axes.titlesize": 10,
        # Text stays text: small, and in the page's own letters.
        "svg.fonttype": "none",
        "font.family": "sans-serif",
    }
