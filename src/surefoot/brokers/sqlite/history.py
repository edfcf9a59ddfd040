"""What happened in each minute and each hour, and how long jobs waited and ran: written once a transaction.

No verb lives here.
"""

from collections.abc import Sequence
from typing import Any, Final

from surefoot.brokers.answers import EVENTS, HOURS_KEPT, MinuteRow
from surefoot.brokers.sqlite.spoiled import count, raw
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import News, Tx
from surefoot.core import sketch

_HISTORY: Final = script("history")
_COUNT_MINUTE: Final = _HISTORY["count_minute"]
_COUNT_HOUR: Final = _HISTORY["count_hour"]
_KNOWN_TIMES: Final = _HISTORY["known_times"]
_SET_TIMES: Final = _HISTORY["set_times"]
_MINUTES: Final = _HISTORY["minutes"]
_HOURS: Final = _HISTORY["hours"]
_TIMES: Final = _HISTORY["times"]
_DROP_MINUTES: Final = _HISTORY["drop_minutes"]
_DROP_HOURS: Final = _HISTORY["drop_hours"]
_DROP_TIMES: Final = _HISTORY["drop_times"]

ALL_TIME: Final = -1
"""In place of a minute: the row that counts since the beginning."""
MINUTES_KEPT: Final = 1_440
_AN_HOUR: Final = 60


def write_counts(tx: Tx, news: News) -> None:
    """The numbers of a whole transaction: one row a queue and minute, one for its hour, and one for all time."""
    minutes, hours = [], []
    for (queue, minute), events in news.counts.items():
        numbers = [events.get(event, 0) for event in EVENTS]
        minutes += [(queue, minute, *numbers), (queue, ALL_TIME, *numbers)]
        hours.append((queue, minute // _AN_HOUR, *numbers))
    tx.many(_COUNT_MINUTE, minutes)
    tx.many(_COUNT_HOUR, hours)
    for (queue, minute), times in news.times.items():
        for period, at in ((1, minute), (_AN_HOUR, minute // _AN_HOUR)):
            known = sketch.decode(raw(tx.value(_KNOWN_TIMES, queue=queue, period=period, at=at)) or b"")
            sketch.merge(known, times)
            tx.do(_SET_TIMES, queue=queue, period=period, at=at, sketch=sketch.encode(known))


def ever(tx: Tx, queue: str) -> MinuteRow:
    """The numbers since the beginning."""
    rows = tx.rows(_MINUTES, queue=queue, first=2**62)
    return _row(ALL_TIME, rows[0][1:], {}) if rows else MinuteRow(ALL_TIME)


def _row(minute: int, events: Sequence[object], times: sketch.Times) -> MinuteRow:
    numbers: dict[str, Any] = dict(zip(EVENTS, map(count, events), strict=True))
    return MinuteRow(minute, **numbers, times=times)


def minutes(tx: Tx, queue: str, asked: int) -> tuple[MinuteRow, ...]:
    """The last minutes in which something happened, oldest first."""
    first = tx.now_ms // 60_000 - min(asked, MINUTES_KEPT) + 1
    times = _times(tx, queue, 1, first) if asked else {}
    rows = tx.rows(_MINUTES, queue=queue, first=first) if asked else []
    return tuple([_row(at, events, times.get(at, {})) for at, *events in rows if at != ALL_TIME])


def hours(tx: Tx, queue: str, asked: int) -> tuple[MinuteRow, ...]:
    """The last hours in which something happened, oldest first, each by the minute that it begins with."""
    first = tx.now_ms // 3_600_000 - min(asked, HOURS_KEPT) + 1
    times = _times(tx, queue, _AN_HOUR, first) if asked else {}
    rows = tx.rows(_HOURS, queue=queue, first=first) if asked else []
    return tuple([_row(at * _AN_HOUR, events, times.get(at, {})) for at, *events in rows])


def _times(tx: Tx, queue: str, period: int, first: int) -> dict[int, sketch.Times]:
    rows = tx.rows(_TIMES, queue=queue, period=period, first=first)
    return {at: sketch.decode(raw(times) or b"") for at, times in rows}


def drop_old(tx: Tx, queue: str) -> None:
    """Minutes of a former day go, and hours of a former month."""
    minute, hour = tx.now_ms // 60_000 - MINUTES_KEPT, tx.now_ms // 3_600_000 - HOURS_KEPT
    tx.do(_DROP_MINUTES, queue=queue, before=minute)
    tx.do(_DROP_HOURS, queue=queue, before=hour)
    tx.do(_DROP_TIMES, queue=queue, period=1, before=minute)
    tx.do(_DROP_TIMES, queue=queue, period=_AN_HOUR, before=hour)
