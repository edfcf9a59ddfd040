"""When a recurring job is due: cron lines in a time zone, and fixed intervals. It answers when; it never waits.

Works in whole seconds: `wall` is what a clock on the wall shows, as seconds since 1970 on it; `at` is a real moment.
cronsim finds the wall times of a line; which real moments these are is decided here.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, final
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from cronsim import CronSim

from surefoot.core.errors import ConfigError, Seconds, duration
from surefoot.core.names import did_you_mean

_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_DAY_S: Final = 86_400
_ORIGIN: Final = datetime(1970, 1, 1)
_OUT_OF_RANGE: Final = (OverflowError, ValueError, OSError)


@final
class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """The ticks of one entry: a cron line in a zone, or every so many milliseconds since the epoch.

    A wall time that a clock change skips ticks at the first moment after it; a fixed hour that occurs twice ticks once,
    in the first. A line with `*` or a step in its hour follows the real hours: each one ticks, a skipped one never was.
    """

    expression: str
    timezone: str
    interval_ms: int | None = None

    def next_ms(self, after_ms: int) -> int | None:
        """The first tick strictly after this moment; None if there is none."""
        if self.interval_ms is not None:
            return (after_ms // self.interval_ms + 1) * self.interval_ms
        find = _next_real if self._follows_hours else _next_fixed
        try:
            tick = find(_line(self.expression), ZoneInfo(self.timezone), after_ms // 1000)
        except _OUT_OF_RANGE:  # beyond the year 9999
            return None
        return None if tick is None else tick * 1000

    def last_ms(self, before_ms: int, since_ms: int) -> int | None:
        """The latest tick after `since_ms` and not after `before_ms`; None if there is none."""
        if self.interval_ms is not None:
            tick_ms = before_ms // self.interval_ms * self.interval_ms
            return tick_ms if tick_ms > since_ms else None
        find = _last_real if self._follows_hours else _last_fixed
        try:
            tick = find(_line(self.expression), ZoneInfo(self.timezone), before_ms // 1000, since_ms // 1000)
        except _OUT_OF_RANGE:
            return None
        return None if tick is None or tick * 1000 <= since_ms else tick * 1000

    @property
    def _follows_hours(self) -> bool:
        hour = _line(self.expression).split()[1]
        return "*" in hour or "/" in hour


def parse_cron(expression: str, timezone: str = "UTC") -> Schedule:
    """A cron line (five fields, or a word like @daily) in a time zone. Raises ConfigError."""
    if not isinstance(expression, str):
        raise ConfigError(f"cron({expression!r}): give a line of five fields as text: {' '.join(_FIELDS)}.")
    line = _line(expression)
    if line.startswith("@"):
        known = ", ".join(_WORDS)
        guess = did_you_mean(expression.strip().lower(), _WORDS) or f"; known are {known}."
        raise ConfigError(f"cron({expression!r}): there is no such word{guess}")
    count = len(line.split())
    if count != len(_FIELDS):
        raise ConfigError(f"cron({expression!r}) has {count} fields and needs five: {' '.join(_FIELDS)}.")
    try:
        CronSim(line, datetime(2000, 1, 1))
    except Exception as refused:
        raise ConfigError(f"cron({expression!r}): {_fault(line, refused)}") from None
    _check_zone(timezone)
    return Schedule(expression=expression, timezone=timezone)


def every(interval: Seconds) -> Schedule:
    """Ticks at the multiples of an interval since the epoch. Raises ConfigError."""
    interval_ms = round(duration(interval, "every", least=0.001) * 1000)
    seconds = f"{interval_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return Schedule(expression=f"every {seconds} s", timezone="UTC", interval_ms=interval_ms)


def _line(expression: str) -> str:
    return _WORDS.get(expression.strip().lower(), expression)


def _fault(line: str, refused: Exception) -> str:
    name = str(refused).removeprefix("Bad ")
    if name not in _FIELDS:
        return f"that is no cron line ({refused})."
    return f"{line.split()[_FIELDS.index(name)]!r} cannot be the {name}."


def _check_zone(timezone: str) -> None:
    if not isinstance(timezone, str):
        raise ConfigError(f"timezone={timezone!r} is not the name of a zone; give one like 'Europe/Paris'.")
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        guess = did_you_mean(timezone, available_timezones()) or "; give one like 'Europe/Paris'."
        raise ConfigError(f"there is no time zone {timezone!r}{guess}") from None


# A line with fixed hours: its wall times in order, each at one real moment. Both orders agree: no tick is passed over.


def _next_fixed(line: str, zone: ZoneInfo, after: int) -> int | None:
    walls = _walls(line, after + _offset(zone, after))
    return next((at for wall in walls if (at := _moment(zone, wall)) > after), None)


def _last_fixed(line: str, zone: ZoneInfo, before: int, since: int) -> int | None:
    # In the second pass of a repeated hour the clock shows less than it did: yesterday's offset covers the first pass.
    most = before + max(_offset(zone, before), _offset(zone, before - _DAY_S))
    for wall in _walls(line, most + 1, backwards=True):
        at = _moment(zone, wall)
        if at <= before:
            return at if at > since else None
    return None


def _moment(zone: ZoneInfo, wall: int) -> int:
    """The first real moment at which the clock shows this; a skipped one is the moment of the change."""
    shown = _naive(wall).replace(tzinfo=zone)
    first, second = int(shown.timestamp()), int(shown.replace(fold=1).timestamp())
    if first + _offset(zone, first) == wall:
        return first
    return _first_change(zone, second, first) or first


# A line that follows the real hours: between two changes of the clock, wall time is real time plus an offset.
# cronsim alone would step by whole hours across a change of 30 minutes, and pass over ticks.


def _next_real(line: str, zone: ZoneInfo, after: int) -> int | None:
    while True:
        offset = _offset(zone, after)
        wall = next(_walls(line, after + offset), None)
        if wall is None:
            return None
        change = _first_change(zone, after, wall - offset)
        if change is None:
            return wall - offset
        wall = change + _offset(zone, change)
        if next(_walls(line, wall - 1), None) == wall:
            return change
        after = change


def _last_real(line: str, zone: ZoneInfo, before: int, since: int) -> int | None:
    while before > since:
        offset = _offset(zone, before)
        wall = next(_walls(line, before + offset + 1, backwards=True), None)
        if wall is None:
            return None
        start = _last_change(zone, max(wall - offset, since), before)
        if start is None:
            return wall - offset
        before = start - 1
    return None


def _walls(line: str, wall: int, *, backwards: bool = False) -> Iterator[int]:
    """The wall times of a line: strictly after this one, or strictly before it, backwards."""
    for shown in CronSim(line, _naive(wall), reverse=backwards):
        yield round((shown - _ORIGIN) / timedelta(seconds=1))


def _naive(wall: int) -> datetime:
    return _ORIGIN + timedelta(seconds=wall)


def _offset(zone: ZoneInfo, at: int) -> int:
    """What the zone adds to UTC at a real moment, in seconds."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _first_change(zone: ZoneInfo, after: int, until: int) -> int | None:
    """The first moment after this one at which the zone's offset is another; None if that is later than `until`."""
    offset, low = _offset(zone, after), after
    while low < until:
        high = min(low + _DAY_S, until)
        if _offset(zone, high) != offset:
            return _bisect(zone, low, high, offset)
        low = high
    return None


def _last_change(zone: ZoneInfo, after: int, until: int) -> int | None:
    """The moment from which on the zone has the offset that it has at `until`; None if it had it already at `after`."""
    offset, high = _offset(zone, until), until
    while high > after:
        low = max(high - _DAY_S, after)
        if (before := _offset(zone, low)) != offset:
            return _bisect(zone, low, high, before)
        high = low
    return None


def _bisect(zone: ZoneInfo, low: int, high: int, offset: int) -> int:
    """The first moment after `low`, which has this offset, that has another; `high` has another."""
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high
