"""What happened over time: counts and times of each queue, put together for charts. Changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from surefoot.brokers.answers import EVENTS, MinuteRow, QueueStats
from surefoot.brokers.broker import Stats
from surefoot.client.queue import Queue
from surefoot.core import sketch
from surefoot.core.errors import UsageError
from surefoot.dashboard import charts
from surefoot.dashboard.house import House
from surefoot.dashboard.words import age

_SHARES: Final = (("p50", "good", 0.5), ("p95", "warn", 0.95), ("p99", "bad", 0.99))


class Span(msgspec.Struct, frozen=True):
    """A time back from now: `rows` of `row_s` seconds each as the store keeps them, `step` rows to one point."""

    name: str
    rows: int
    row_s: int
    step: int

    @property
    def step_s(self) -> int:
        """Seconds between two points."""
        return self.row_s * self.step

    def kept(self, stats: QueueStats) -> Sequence[MinuteRow]:
        """The rows of this span: quiet ones are left out."""
        return stats.minutes if self.row_s == 60 else stats.hours


HOUR: Final = Span("1 hour", 60, 60, 1)
SPANS: Final = {
    "1h": HOUR,
    "6h": Span("6 hours", 360, 60, 5),
    "1d": Span("1 day", 1_440, 60, 15),
    "7d": Span("7 days", 168, 3_600, 2),
    "30d": Span("30 days", 720, 3_600, 8),
}


async def history(house: House, query: Mapping[str, str]) -> dict[str, Any]:
    """Counts and times of each queue over one of the spans."""
    name = query.get("span", "1h")
    if name not in SPANS:
        raise UsageError(f"span={name}: there are {', '.join(SPANS)}.")
    span = SPANS[name]
    shown = [_shown(queue.name, await _asked(queue, span), span) for queue in await house.queues()]
    return {"shown": shown, "span": name, "spans": SPANS, "step": age(span.step_s)}


async def _asked(queue: Queue, span: Span) -> QueueStats:
    minutes, hours = (span.rows, 0) if span.row_s == 60 else (0, span.rows)
    answer: QueueStats
    (answer,) = await queue.sessions.ask([Stats(queue.full_name, minutes, jobs=False, hours=hours)])
    return answer


def _shown(name: str, stats: QueueStats, span: Span) -> dict[str, Any]:
    rows = span.kept(stats)
    return {
        "name": name,
        "jobs": jobs_chart(stats, span),
        "waiting": _times_chart(stats, span, "waiting"),
        "running": _times_chart(stats, span, "running"),
        "sums": {event: sum(getattr(row, event) for row in rows) for event in EVENTS},
        "times": times_of(rows),
    }


def times_of(rows: Iterable[MinuteRow]) -> dict[str, dict[str, float]]:
    """p50, p95 and p99 of waiting and running, in seconds, over all rows; nothing where nothing ran."""
    all_times: sketch.Times = {}
    for row in rows:
        sketch.merge(all_times, row.times)
    found: dict[str, dict[str, float]] = {}
    for of in sketch.BASES:
        values = {name: sketch.quantile(all_times, of, share) for name, _, share in _SHARES}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            found[of] = known
    return found


def jobs_chart(stats: QueueStats, span: Span) -> Any:
    """Completed and failed over time."""

    def line(event: str) -> list[float]:
        return [float(sum(getattr(row, event) for row in rows)) for rows in points(stats, span)]

    lines = [("completed", "good", line("completed")), ("failed", "bad", line("failed"))]
    return charts.drawn(lines, first_s=_first_s(stats, span), step_s=span.step_s, label=f"jobs in the last {span.name}")


def _times_chart(stats: QueueStats, span: Span, of: sketch.Of) -> Any:
    """How long jobs waited, or ran; nothing where none did."""
    merged: list[sketch.Times] = []
    for rows in points(stats, span):
        merged.append({})
        for row in rows:
            sketch.merge(merged[-1], row.times)
    if not any(sketch.total(times, of) for times in merged):
        return None
    lines: list[charts.Line] = [
        (name, colour, [sketch.quantile(times, of, share) for times in merged]) for name, colour, share in _SHARES
    ]
    return charts.drawn(
        lines, first_s=_first_s(stats, span), step_s=span.step_s, label=f"{of} times in the last {span.name}",
        shown=age,
    )  # fmt: skip


def points(stats: QueueStats, span: Span) -> list[list[MinuteRow]]:
    """The rows of each point, the oldest first; the last point is the one that is not over yet."""
    first_s = _first_s(stats, span)
    found: list[list[MinuteRow]] = [[] for _ in range(span.rows // span.step)]
    for row in span.kept(stats):
        place = (row.minute * 60 - first_s) // span.step_s
        if 0 <= place < len(found):
            found[place].append(row)
    return found


def _first_s(stats: QueueStats, span: Span) -> int:
    """When the first point begins, in seconds since the epoch."""
    return (stats.now_ms // 1000 // span.row_s + 1) * span.row_s - span.rows * span.row_s


def recent(stats: QueueStats, event: str, count: int) -> list[int]:
    """A number for each of the last minutes."""
    last = stats.now_ms // 60_000
    known = {row.minute: int(getattr(row, event)) for row in stats.minutes}
    return [known.get(minute, 0) for minute in range(last - count + 1, last + 1)]
