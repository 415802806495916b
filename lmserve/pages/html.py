"""An HTML page that needs nothing else: every text escaped, pictures inside, light and dark.

It has no script and asks for no other resource.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --back: #ffffff; --line: #d0d0d0;
  --head: #f2f2f2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --back: #161616; --line: #444444; --head: #262626; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
caption { text-align: left; font-weight: bold; padding-bottom: 0.3rem; }
th, td { border: 1px solid var(--line); padding: 0.2rem 0.6rem; text-align: left; }
th { background: var(--head); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
img.drawn { background: none; width: 100%; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A page of parts that `heading`, `table` and `picture` made."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """A section's title."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Some sentences."""
    return f"<p>{escape(text)}</p>"


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; numbers to the right, at six digits."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads) if any(heads) else ""
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f"<table><caption>{escape(caption)}</caption>\n<tr>{head}</tr>\n{lines}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:,.6g}</td>'
    return f"<td>{escape(str(value))}</td>"


def picture(svg: bytes, description: str) -> str:
    """A picture inside the page; as an image, an SVG can run nothing and fetch nothing."""
    data = base64.b64encode(svg).decode()
    return f'<p><img alt="{escape(description)}" src="data:image/svg+xml;base64,{data}"></p>'
