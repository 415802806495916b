"""Words coloured by how much they surprise a model."""

import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

_PICTURE_COLUMNS = 100
# From expected (p = 1) to astonishing (p = 1/100,000), as background colours.
_SHADES = ("#1b5e20", "#33691e", "#6d6a12", "#a65d00", "#b23c17", "#b71c1c")


def score_table(scored: Iterable[tuple[str, Mapping[str, Any]]], *, colours: bool) -> Table:
    """The sentences of some answers, each with its kind; a line after every "nonsense"."""
    table = Table("", "perplexity", "words, shaded by surprise", caption=legend(colours=colours))
    for kind, answer in scored:
        words = shaded(answer["words"], colours=colours)
        last = kind == "nonsense"
        table.add_row(kind, f"{answer['perplexity']:,.0f}", words, end_section=last)
    return table


def shaded(words: Iterable[Mapping[str, Any]], *, colours: bool) -> Text:
    """A sentence whose words are shaded by surprise, -log10 of their probability.

    Args:
        words: of a score's answer, with `word` and `log10_prob`.
        colours: False writes the surprise behind each word instead.
    """
    text = Text()
    for word in words:
        surprise = 9.9 if word["log10_prob"] is None else -word["log10_prob"]
        if colours:
            shade = _SHADES[min(int(surprise), len(_SHADES) - 1)]
            text.append(f" {word['word']} ", Style(color="white", bgcolor=shade))
        else:
            text.append(f"{word['word']}({surprise:.1f}) ")
    return text


def legend(*, colours: bool) -> Text:
    """What the shades mean."""
    if not colours:
        return Text("In brackets: surprise, -log10 of the word's probability.")
    text = Text("surprise (-log10 of the probability): ")
    for i, shade in enumerate(_SHADES):
        label = f" {i}-{i + 1} " if i + 1 < len(_SHADES) else f" over {i} "
        text.append(label, Style(color="white", bgcolor=shade))
    return text


def write_picture(table: RenderableType, path: Path, title: str) -> None:
    """Writes what a terminal with colours would show as an SVG picture that needs no network."""
    console = Console(
        record=True, file=io.StringIO(), width=_PICTURE_COLUMNS, color_system="truecolor"
    )
    console.print(table)
    # Without the fonts that it would fetch from the web: any monospaced one will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=title), flags=re.DOTALL)
    path.write_text(svg, encoding="utf-8", newline="\n")
