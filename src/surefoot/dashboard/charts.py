"""Charts as SVG that stands in the page: attributes only, so a strict policy lets it in; colours are the page's own."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import Final, cast

import leather
from markupsafe import Markup

_SIZE: Final = re.compile(r'<svg width="(\d+)" height="(\d+)" version="1.1" xmlns="http://www.w3.org/2000/svg">')
_BACKGROUND: Final = re.compile(r'<rect x="0" y="0" width="\d+" height="\d+" fill="#f9f9f9" />')
_FIXED: Final = re.compile(r' font-family="Monaco"| fill="#(?:333|666|9c9c9c)"| stroke="#(?:eee|a8a8a8)"')
_DAY_S: Final = 86_400
_WIDTH, _HEIGHT = 860, 240
_SHOWN: Final = f"30 30 {_WIDTH - 60} {_HEIGHT - 50}"
"""The drawing without most of its margin."""

Line = tuple[str, str, Sequence[float | None]]
"""A name, a colour of the style sheet, and a value for each point; None where there is none."""


def drawn(
    lines: Sequence[Line], *, first_s: int, step_s: int, label: str, shown: Callable[[float], str] | None = None
) -> Markup:
    """Lines over the same times, from `first_s` on. The newest point is at the right."""
    count = max(len(values) for _, _, values in lines)
    top = max((value for _, _, values in lines for value in values if value is not None), default=0)
    form = "%H:%M" if count * step_s <= _DAY_S else "%b %d %H:%M"
    chart = leather.Chart()
    chart.add_x_scale(0, max(1, count - 1))
    chart.add_y_scale(0, _round_up(top, 4 if shown is None else 0.001))
    chart.add_x_axis(
        ticks=[round(part * (count - 1) / 4) for part in range(5)],
        tick_formatter=lambda place, *_: f"{datetime.fromtimestamp(first_s + place * step_s, UTC):{form}}",
    )
    chart.add_y_axis(tick_formatter=lambda value, *_: f"{value:,.0f}" if shown is None else shown(value))
    for name, colour, values in lines:
        chart.add_line(list(enumerate(values)), name=name, stroke_color=f"var(--{colour})", width=2)
    text = cast("str", chart.to_svg(width=_WIDTH, height=_HEIGHT))
    text = _FIXED.sub("", _BACKGROUND.sub("", text, count=1))
    head = Markup('<svg class="chart" viewBox="{}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">')
    # The text is leather's: numbers, our own names and colours; nothing of a store is in it.
    return head.format(_SHOWN, label) + Markup(_SIZE.sub("", text, count=1))  # noqa: S704 - see above


def spark(values: Sequence[float], label: str) -> Markup:
    """A small line without axes."""
    top = max((*values, 1))
    width = max(1, len(values) - 1)
    points = " ".join(f"{place * 120 / width:.1f},{23 - value * 22 / top:.1f}" for place, value in enumerate(values))
    return Markup(
        '<svg class="spark" viewBox="0 0 120 24" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline points="{}" fill="none" vector-effect="non-scaling-stroke"/></svg>'
    ).format(label, points)


def _round_up(top: float, least: float) -> float:
    """The end of an axis: 1, 2 or 5 times a power of ten, or 4 for whole numbers."""
    size = least
    for factor in cycle((2, 2.5, 2)):
        if size >= top:
            return size
        size *= factor
    return size
