"""How facts are said on a page: ages, moments, numbers, cron lines in words. Pure: no store, no request."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from cronsim import CronSim, CronSimError
from markupsafe import Markup, escape

from surefoot.core.errors import duration_words
from surefoot.core.job import moment

_CRON_WORDS: Final = {
    "@hourly": "At the start of every hour",
    "@daily": "At midnight every day",
    "@midnight": "At midnight every day",
    "@weekly": "At midnight every Sunday",
    "@monthly": "At midnight on the first day of every month",
    "@yearly": "At midnight on January 1",
    "@annually": "At midnight on January 1",
}
_NONE: Final = "\N{EN DASH}"
_SHORT_S: Final = 0.1
_ANY_DAY: Final = datetime(2026, 1, 1)
_DONE: Final = {
    "paused": "The queue is paused.",
    "resumed": "The queue goes on.",
    "cron-paused": "The cron is paused: its ticks are skipped.",
    "cron-resumed": "The cron goes on.",
    "enqueued": "The job is enqueued.",
    "edited": "The arguments are changed. The job is still dead: requeue it to run it again.",
}
_COUNTED: Final = {"requeued": "requeued", "deleted": "deleted", "cancelled": "cancelled or asked to stop"}


def age(seconds: float | None) -> str:
    """`3 ms`, `0.2 s`, `14 min`, or a dash where there is none."""
    if seconds is None:
        return _NONE
    return duration_words(seconds) if seconds >= _SHORT_S else f"{max(0.0, seconds) * 1000:.2g} ms"


def number(value: float | None) -> str:
    """`12,345`; a dash where there is none."""
    if value is None:
        return _NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def at_ms(ms: int | None) -> str:
    """A moment as an element that the page's script turns into the reader's own time; UTC without it."""
    if not ms:
        return _NONE
    try:
        when = moment(ms)
    except OverflowError:
        return _NONE
    return Markup('<time datetime="{}">{}</time>').format(
        when.isoformat(timespec="milliseconds"), f"{when:%Y-%m-%d %H:%M:%S} UTC"
    )


def at(when: datetime | None) -> str:
    """The same of a datetime."""
    return at_ms(None if when is None else round(when.astimezone(UTC).timestamp() * 1000))


def pretty(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def short(text: str | None, most: int = 160) -> str:
    """One line of somebody's text."""
    line = " ".join((text or "").split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def cron_words(expression: str, interval_ms: int | None = None) -> str:
    """A cron line in words; nothing where it is no line that we know."""
    if interval_ms is not None:
        return f"Every {duration_words(interval_ms / 1000)}"
    if expression in _CRON_WORDS:
        return _CRON_WORDS[expression]
    try:
        return CronSim(expression, _ANY_DAY).explain()
    except (CronSimError, ValueError):
        return ""


def counted(count: int, noun: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def notice(query: Mapping[str, str]) -> str | None:
    """What a change came to. Said in our own words: a link cannot put a sentence on the page."""
    done = query.get("done", "")
    if done in _DONE:
        return _DONE[done]
    count = query.get("count", "")
    if done in _COUNTED and count.isascii() and count.isdigit() and len(count) < 12:
        return f"{counted(int(count), 'job')} {_COUNTED[done]}."
    return None


def address(root: str, path: str, query: Mapping[str, Any]) -> str:
    """A path of ours below where we are mounted; what is None or empty is left out of the query."""
    given = {word: value for word, value in query.items() if value not in (None, "")}
    return f"{root}{path}{'?' if given else ''}{urlencode(given)}"


def bar(part: float, whole: float) -> Markup:
    """A small meter."""
    if whole <= 0:
        return Markup("")
    return Markup('<meter min="0" max="{}" value="{}">{}</meter>').format(
        whole, min(part, whole), escape(f"{part:g} of {whole:g}")
    )
