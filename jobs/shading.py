"""Words coloured by how much they surprise a model."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.style import Style
from rich.text import Text

# From expected (p = 1) to astonishing (p = 1/100,000), as background colours.
_SHADES = ("#1b5e20", "#33691e", "#827717", "#ff8f00", "#d84315", "#b71c1c")


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
