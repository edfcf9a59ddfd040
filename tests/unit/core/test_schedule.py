"""Recurring entries: ticks of cron lines and intervals, and the two days a year on which the clock changes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.errors import ConfigError
from surefoot.core.schedule import Schedule, every, parse_cron

LINES = [
    "* * * * *",
    "*/7 * * * *",
    "30 * * * *",
    "0 */3 * * *",
    "15 1-23/2 * * *",
    "0 0 * * *",
    "30 2 * * *",
    "*/20 2 * * *",
    "0,30 1-3 * * *",
    "45 1 * * *",
    "0 12 1 * *",
    "0 6 * * mon-fri",
    "0 0 29 2 *",
    "0 0 * * 5#1",
    "0 3 L * *",
    "30 23 * * sun",
    "@hourly",
    "@daily",
    "@weekly",
]
ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kolkata",
]
CHANGES = [
    ("Europe/Paris", "2026-03-29"),
    ("Europe/Paris", "2026-10-25"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-02-17"),
    ("Pacific/Apia", "2011-12-29"),
]
FROM_MS, TO_MS = 1_200_000_000_000, 2_000_000_000_000
moments = st.integers(FROM_MS, TO_MS)
schedules = st.builds(parse_cron, st.sampled_from(LINES), st.sampled_from(ZONES))


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def ticks(line: str, zone: str, start: str, count: int) -> list[str]:
    """The first ticks after a moment, as the wall shows them with the offset."""
    schedule, found = parse_cron(line, zone), list[str]()
    at: int | None = ms(start, zone)
    for _ in range(count):
        assert at is not None
        at = schedule.next_ms(at)
        assert at is not None
        found.append(f"{datetime.fromtimestamp(at / 1000, ZoneInfo(zone)):%d %H:%M %z}")
    return found


FIXED = [
    # the gap: once, at the first moment after it
    ("30 2 * * *", "Europe/Paris", "2026-03-28T00:00", ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]),
    ("*/20 2 * * *", "Europe/Paris", "2026-03-28T02:30", ["28 02:40 +0100", "29 03:00 +0200", "30 02:00 +0200"]),
    ("0 2,3 * * *", "Europe/Paris", "2026-03-28T12:00", ["29 03:00 +0200", "30 02:00 +0200", "30 03:00 +0200"]),
    ("15 2 * * *", "America/New_York", "2026-03-07T12:00", ["08 03:00 -0400", "09 02:15 -0400"]),
    ("0 0 * * *", "America/Sao_Paulo", "2018-11-02T12:00", ["03 00:00 -0300", "04 01:00 -0200", "05 00:00 -0200"]),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["03 02:15 +1030", "04 02:30 +1100", "05 02:15 +1100"]),
    ("0 12 * * *", "Pacific/Apia", "2011-12-28T13:00", ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"]),
    ("0 0 * * *", "Pacific/Apia", "2011-12-28T13:00", ["29 00:00 -1000", "31 00:00 +1400", "01 00:00 +1400"]),
    ("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00", ["31 00:00 +1400", "30 09:00 +1400"]),
    # the overlap: once, the first
    ("30 2 * * *", "Europe/Paris", "2026-10-24T12:00", ["25 02:30 +0200", "26 02:30 +0100"]),
    (
        "*/20 2 * * *",
        "Europe/Paris",
        "2026-10-25T01:00",
        ["25 02:00 +0200", "25 02:20 +0200", "25 02:40 +0200", "26 02:00 +0100"],
    ),
    ("0 1-3 * * *", "Europe/Paris", "2026-10-25T00:00", ["25 01:00 +0200", "25 02:00 +0200", "25 03:00 +0100"]),
    ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["01 01:30 -0400", "02 01:30 -0500"]),
    ("30 23 * * *", "America/Sao_Paulo", "2018-02-16T12:00", ["16 23:30 -0200", "17 23:30 -0200", "18 23:30 -0300"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", ["04 01:45 +1100", "05 01:45 +1100", "06 01:45 +1030"]),
    ("30 2 * * *", "UTC", "2026-03-28T12:00", ["29 02:30 +0000", "30 02:30 +0000"]),
]

EVERY_HOUR = [
    ("30 * * * *", "Europe/Paris", "2026-03-29T01:00", ["29 01:30 +0100", "29 03:30 +0200", "29 04:30 +0200"]),
    ("30 * * * *", "Europe/Paris", "2026-10-25T02:00", ["25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"]),
    ("0 */2 * * *", "Europe/Paris", "2026-10-25T00:30", ["25 02:00 +0200", "25 02:00 +0100", "25 04:00 +0100"]),
    ("0 0-23/2 * * *", "Europe/Paris", "2026-10-25T00:30", ["25 02:00 +0200", "25 02:00 +0100", "25 04:00 +0100"]),
    ("0 * * * *", "America/New_York", "2026-11-01T00:30", ["01 01:00 -0400", "01 01:00 -0500", "01 02:00 -0500"]),
    ("0 * * * *", "America/Sao_Paulo", "2018-11-03T22:30", ["03 23:00 -0300", "04 01:00 -0200", "04 02:00 -0200"]),
    # half an hour is skipped and comes twice: 02:00 never was, 01:45 was twice; and 03:00 is not passed over
    ("0 * * * *", "Australia/Lord_Howe", "2026-10-04T00:30", ["04 01:00 +1030", "04 03:00 +1100", "04 04:00 +1100"]),
    ("30 * * * *", "Australia/Lord_Howe", "2026-10-04T00:45", ["04 01:30 +1030", "04 02:30 +1100", "04 03:30 +1100"]),
    ("0 */3 * * *", "Australia/Lord_Howe", "2026-10-04T00:30", ["04 03:00 +1100", "04 06:00 +1100"]),
    ("45 * * * *", "Australia/Lord_Howe", "2026-04-05T01:00", ["05 01:45 +1100", "05 01:45 +1030", "05 02:45 +1030"]),
    ("0 * * * *", "Pacific/Apia", "2011-12-29T22:30", ["29 23:00 -1000", "31 00:00 +1400", "31 01:00 +1400"]),
    ("0 * * * *", "UTC", "2026-03-29T00:30", ["29 01:00 +0000", "29 02:00 +0000"]),
]


@pytest.mark.parametrize(("line", "zone", "start", "expected"), FIXED)
def test_C1_a_fixed_hour_runs_once_on_both_days(line: str, zone: str, start: str, expected: list[str]) -> None:
    assert ticks(line, zone, start, len(expected)) == expected


@pytest.mark.parametrize(("line", "zone", "start", "expected"), EVERY_HOUR)
def test_C1_a_line_for_every_hour_follows_the_real_hours(line: str, zone: str, start: str, expected: list[str]) -> None:
    assert ticks(line, zone, start, len(expected)) == expected


def shows(zone: ZoneInfo, at_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, zone).replace(tzinfo=None, fold=0)


@pytest.mark.parametrize("line", [line for line in LINES if line[0] != "@" and re.search(r"[*/]", line.split()[1])])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_C1_every_real_minute_whose_wall_time_fits_is_a_tick(line: str, day: str, zone: str) -> None:
    """Two days around a change, minute by minute: the slow and plain way to say the rule."""
    start, where, schedule = ms(f"{day}T00:00", zone), ZoneInfo(zone), parse_cron(line, zone)
    plain = set[datetime]()
    for wall in CronSim(line, datetime.fromisoformat(f"{day}T00:00").replace(second=0)):
        if (wall - datetime.fromisoformat(day)).days >= 4:
            break
        plain.add(wall)
    expected = [start + n * 60_000 for n in range(1, 2 * 1440) if shows(where, start // 1000 + n * 60) in plain]
    found, at = list[int](), schedule.next_ms(start)
    while at is not None and at < start + 2 * 86_400_000:
        found.append(at)
        at = schedule.next_ms(at)
    assert found == expected


@given(schedules, moments)
def test_next_is_strictly_after_and_last_finds_the_same_ticks(schedule: Schedule, after_ms: int) -> None:
    tick_ms = schedule.next_ms(after_ms)
    assert tick_ms is not None
    assert tick_ms > after_ms
    assert schedule.last_ms(tick_ms, after_ms) == tick_ms
    assert schedule.last_ms(tick_ms - 1, after_ms) is None
    again_ms = schedule.next_ms(tick_ms)
    assert again_ms is not None
    assert again_ms > tick_ms
    assert schedule.last_ms(again_ms - 1, after_ms) == tick_ms
    assert schedule.last_ms(again_ms, after_ms) == again_ms
    assert schedule.last_ms(again_ms, again_ms) is None


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.parametrize("line", LINES)
def test_C3_going_back_finds_every_tick_that_going_forward_found(line: str, zone: str, day: str) -> None:
    schedule, start, end = parse_cron(line, zone), ms(f"{day}T00:07", zone), ms(f"{day}T05:00", zone)
    forward, at = list[int](), schedule.next_ms(start)
    while at is not None and at <= end:
        forward.append(at)
        at = schedule.next_ms(at)
    backward, before = list[int](), end
    while (found := schedule.last_ms(before, start)) is not None:
        backward.append(found)
        before = found - 1
    assert backward[::-1] == forward


def test_C3_in_the_second_pass_of_an_hour_the_last_tick_is_in_the_first() -> None:
    schedule = parse_cron("30 2 * * *", "Europe/Paris")
    first_pass, second_pass = ms("2026-10-25T00:30"), ms("2026-10-25T01:10")
    assert schedule.last_ms(second_pass, second_pass - 3_600_000) == first_pass
    assert schedule.last_ms(second_pass, first_pass) is None
    assert schedule.next_ms(second_pass) == ms("2026-10-26T01:30")


@given(st.floats(0.001, 1e7), st.integers(-(10**13), 10**13))
def test_an_interval_ticks_at_its_multiples_since_the_epoch(seconds: float, after_ms: int) -> None:
    schedule = every(seconds)
    interval_ms = round(seconds * 1000)
    tick_ms = schedule.next_ms(after_ms)
    assert tick_ms is not None
    assert tick_ms % interval_ms == 0
    assert after_ms < tick_ms <= after_ms + interval_ms
    assert schedule.last_ms(tick_ms, after_ms) == tick_ms
    assert schedule.last_ms(tick_ms - 1, after_ms) is None
    assert schedule.last_ms(after_ms, after_ms) is None


def test_an_interval_says_what_it_is() -> None:
    assert (every(30).expression, every(30).timezone) == ("every 30 s", "UTC")
    assert every(0.25).expression == "every 0.25 s"
    assert every(2_592_000).expression == "every 2592000 s"
    assert every(30).next_ms(ms("2026-01-01T00:00:29")) == ms("2026-01-01T00:00:30")


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), 0.0001, "30", None])
def test_an_interval_that_is_none_is_refused(interval: Any) -> None:
    with pytest.raises(ConfigError, match="every="):
        every(interval)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        (" @Daily ", "0 0 * * *"),
    ],
)
def test_a_word_is_its_line(word: str, line: str) -> None:
    start = ms("2026-06-15T12:34")
    assert parse_cron(word).next_ms(start) == parse_cron(line).next_ms(start)
    assert parse_cron(word).expression == word


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("61 * * * *", "cron('61 * * * *'): '61' cannot be the minute."),
        ("0 24 * * *", "cron('0 24 * * *'): '24' cannot be the hour."),
        ("0 0 * * foo", "cron('0 0 * * foo'): 'foo' cannot be the day-of-week."),
        ("0 0 30 2 *", "cron('0 0 30 2 *'): '30' cannot be the day-of-month."),
        ("0 6 * *", "cron('0 6 * *') has 4 fields and needs five: minute hour day-of-month month day-of-week."),
        ("", "cron('') has 0 fields and needs five: minute hour day-of-month month day-of-week."),
        ("@dialy", "cron('@dialy'): there is no such word; did you mean '@daily'?"),
        (
            "@reboot",
            "cron('@reboot'): there is no such word; known are @hourly, @daily, @midnight, @weekly, @monthly, "
            "@yearly, @annually.",
        ),
    ],
)
def test_a_bad_line_is_refused_with_the_field(line: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_cron(line)
    assert str(told.value) == sentence


@given(st.text("0123456789*/,-#L@ monfri²\n", max_size=24))
def test_any_text_is_a_schedule_or_a_config_error(line: str) -> None:
    try:
        schedule = parse_cron(line)
    except ConfigError:
        return
    tick_ms = schedule.next_ms(FROM_MS)
    assert tick_ms is None or tick_ms > FROM_MS


@pytest.mark.parametrize("wrong", [None, 5, b"* * * * *"])
def test_a_line_and_a_zone_are_text(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        parse_cron(wrong)
    with pytest.raises(ConfigError):
        parse_cron("* * * * *", wrong)


def test_an_unknown_zone_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as told:
        parse_cron("* * * * *", "Europe/Pariss")
    assert str(told.value) == "there is no time zone 'Europe/Pariss'; did you mean 'Europe/Paris'?"


@pytest.mark.parametrize("zone", ["", "../etc/passwd", "/etc/localtime", "Europe", "a\x00b", "\ud800"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="there is no time zone"):
        parse_cron("* * * * *", zone)


def test_there_may_be_no_next_tick() -> None:
    last = ms("9999-12-31T23:59")
    assert parse_cron("* * * * *").next_ms(last) is None
    assert parse_cron("* * * * *").next_ms(10**18) is None
    assert parse_cron("* * * * *").last_ms(10**18, 0) is None


def test_a_schedule_is_a_value() -> None:
    assert parse_cron("0 6 * * *", "Europe/Paris") == parse_cron("0 6 * * *", "Europe/Paris")
    assert parse_cron("0 6 * * mon-fri").next_ms(ms("2026-11-27T07:00")) == ms("2026-11-30T06:00")
    with pytest.raises(AttributeError):
        every(5).interval_ms = 6  # type: ignore[misc]
    assert (
        datetime.fromtimestamp((parse_cron("0 0 29 2 *").next_ms(ms("2026-01-01T00:00")) or 0) / 1000, UTC).year == 2028
    )
