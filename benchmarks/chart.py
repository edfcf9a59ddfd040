"""Horizontal bars as SVG: a few elements by hand, no library, readable on light and dark pages."""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE, LINE, TOP = 720, 190, 90, 24, 34
STYLE = """
text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}
.ours{fill:#1a7f64}.other{fill:#9aa5b1}
@media(prefers-color-scheme:dark){text{fill:#d7dde4}.ours{fill:#3fb68b}.other{fill:#5c6773}}
"""


class Bar(NamedTuple):
    """One bar; ours are set apart by colour."""

    label: str
    value: float
    ours: bool


def chart(title: str, bars: Sequence[Bar], words: Callable[[float], str]) -> str:
    """The bars in the order given, on a scale from 0 to the largest."""
    most = max(bar.value for bar in bars) or 1.0
    room = WIDTH - LABEL - VALUE
    height = TOP + LINE * len(bars) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title, {chr(34): "&quot;"})}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
    ]
    for place, bar in enumerate(bars):
        y, long = TOP + LINE * place, max(1.0, room * bar.value / most)
        kind = "ours" if bar.ours else "other"
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{long:.1f}" height="17" rx="2"/>',
            f'<text x="{LABEL + long + 6:.1f}" y="{y + 13}">{escape(words(bar.value))}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
