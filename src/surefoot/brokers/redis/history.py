"""The history of a queue as its `stats` key holds it: which fields to ask for, and what the replies mean. No I/O.

A minute's row is the field `<minute % 1440>`, an hour's `h<hour % 720>`; their times stand in `t<...>` and `ht<...>`.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from surefoot.brokers.answers import EVENTS, HOURS_KEPT, MinuteRow
from surefoot.brokers.redis.spoiled import number
from surefoot.core import sketch

MINUTES_KEPT: Final = 1_440
ALL_TIME: Final = "all"
_AN_HOUR_MS: Final = 3_600_000


class Ring:
    """One ring of slots: `kept` periods of `period_ms`, of which the last `asked` are wanted."""

    def __init__(self, prefix: str, kept: int, period_ms: int, asked: int, now_ms: int) -> None:
        this = now_ms // period_ms
        self._first = this - min(asked, kept) + 1
        # One ahead too: the store's clock may have been set back.
        slots = list(dict.fromkeys(at % kept for at in range(self._first, this + 2))) if asked else []
        self._minutes = period_ms // 60_000
        self.fields: tuple[str, ...] = (
            *[f"{prefix}{slot}" for slot in slots],
            *[f"{prefix}t{slot}" for slot in slots],
        )

    def rows(self, replies: Sequence[bytes | None]) -> tuple[MinuteRow, ...]:
        """Periods in which something happened, oldest first. A slot may still hold one that was a ring ago."""
        half = len(replies) // 2
        found: dict[int, MinuteRow] = {}
        for raw, times in zip(replies[:half], replies[half:], strict=True):
            row = None if raw is None else row_of(raw)
            if row is not None and row.minute >= self._first:
                found[row.minute] = replace(row, minute=row.minute * self._minutes, times=_times(times, row.minute))
        return tuple(found[at] for at in sorted(found))


def minutes(asked: int, now_ms: int) -> Ring:
    """The last minutes."""
    return Ring("", MINUTES_KEPT, 60_000, asked, now_ms)


def hours(asked: int, now_ms: int) -> Ring:
    """The last hours."""
    return Ring("h", HOURS_KEPT, _AN_HOUR_MS, asked, now_ms)


def row_of(raw: bytes) -> MinuteRow | None:
    """One row of numbers; None for what somebody else wrote in its place: the next event begins it anew."""
    at, *events = raw.split(b" ")[: len(EVENTS) + 1]
    numbers = [found for word in (b"0" if at == b"-" else at, *events) if (found := number(word)) is not None]
    if len(numbers) <= len(EVENTS):
        return None
    events_of: dict[str, Any] = dict(zip(EVENTS, numbers[1:], strict=True))
    return MinuteRow(-1 if at == b"-" else numbers[0], **events_of)


def _times(raw: bytes | None, at: int) -> sketch.Times:
    """The times of a period, if they are of this one."""
    first, _, times = (raw or b"").partition(b" ")
    return sketch.decode(times) if number(first) == at else {}
