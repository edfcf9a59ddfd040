"""Asking a queue and steering it as a whole: find, cancel, statistics, workers, crons. Stores no job."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias, get_args

from surefoot.brokers import answers
from surefoot.brokers.answers import HOURS_KEPT, Page, QueueStats, Record
from surefoot.brokers.broker import VERB_LIMIT, Cancel, Changes, Configure, Find, Get, Stats
from surefoot.client.explain import explain
from surefoot.client.handle import Home, JobHandle, not_found
from surefoot.client.operation import Ask, Steps
from surefoot.client.presence import CronLine, living
from surefoot.client.records import (
    Change,
    CronInfo,
    Minute,
    WorkerInfo,
    change_of,
    job_of,
    minute_of,
    task_of,
    worker_of,
)
from surefoot.client.schedules import CronEntry
from surefoot.client.who import who
from surefoot.core.errors import ConfigError, UsageError, aware
from surefoot.core.events import Explanation
from surefoot.core.job import Job, moment, moment_ms
from surefoot.core.names import State, did_you_mean
from surefoot.core.schedule import Schedule, parse_cron

READ_LIMIT: Final = 10_000
"""The most records that one find reads."""

HISTORY_LIMIT: Final = 1_440

WAITING: Final[tuple[State, ...]] = ("scheduled", "pending", "parked")
ALL_STATES: Final[tuple[State, ...]] = get_args(State)

Wanted: TypeAlias = Callable[[Record], bool]


def pages(home: Home, state: State | None, wanted: Wanted, limit: int | None = None) -> Steps[list[Record]]:
    """Records of a state that are wanted, newest first, at most `limit` of them out of at most 10,000 read."""
    found: list[Record] = []
    cursor, read = None, 0
    while limit is None or len(found) < limit:
        page: Page
        [page] = yield Ask((Find(home.full_name, state, cursor, min(VERB_LIMIT, READ_LIMIT - read)),))
        read += len(page.records)
        found += [record for record in page.records if wanted(record)]
        cursor = page.cursor
        if cursor is None or read >= READ_LIMIT:
            break
    return found if limit is None else found[:limit]


def find(
    home: Home,
    *,
    state: State | None,
    task: str | None,
    key: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> Steps[list[Job]]:
    """Jobs, newest first in each state."""
    if state is not None and state not in ALL_STATES:
        raise UsageError(f"find(state={state!r}): there is no such state{did_you_mean(state, ALL_STATES) or '.'}")
    if key is not None and task is None:
        raise UsageError("find(key=...) needs task= too: a key belongs to a task.")
    wanted = _wanted("find", task, since, until, lambda record: record.enqueued_ms)
    if key is not None:
        page: Page
        [page] = yield Ask((Find(home.full_name, key=f"{task} {key}", limit=1),))
        records = [one for one in page.records if wanted(one) and (state is None or one.state == state)]
    else:
        records = yield from pages(home, state, wanted, count_of("find", limit))
    return [job_of(record, home.name, home.specs) for record in records[:limit]]


def cancel(home: Home, ids: Sequence[str], *, task: str | None, everything: bool, reason: str | None) -> Steps[int]:
    """End waiting jobs, ask running ones; how many."""
    choose(f"{home.spoken}.cancel", ids, {"task": task}, everything)
    count = 0
    for some in chunks(ids):
        count += yield from _cancel(home, some, reason)
    if ids:
        return count
    for state in (*WAITING, "processing"):
        cursor = None
        while True:
            page: Page
            [page] = yield Ask((Find(home.full_name, state, cursor, VERB_LIMIT),))
            chosen = [one.id for one in page.records if task is None or task_of(one) == task]
            if chosen:
                count += yield from _cancel(home, chosen, reason)
            cursor = page.cursor
            if cursor is None:
                break
    return count


def _cancel(home: Home, ids: Sequence[str], reason: str | None) -> Steps[int]:
    [words] = yield Ask((Cancel(home.full_name, tuple(ids), reason or "", who=who()),))
    return sum(word != "finished" for word in words)


def explain_job(home: Home, id: str) -> Steps[Explanation]:
    """Why a job is where it is."""
    [[record], stats] = yield Ask((Get(home.full_name, (id,), behind=True), Stats(home.full_name, 0, jobs=False)))
    if record is None:
        raise not_found(JobHandle(home, id), None)
    return explain(record, stats, home.name)


def history(home: Home, minutes: int, hours: int | None) -> Steps[list[Minute]]:
    """What happened in the last minutes or hours, oldest first; those in which nothing happened are left out."""
    if count_of("history", minutes, "minutes") > HISTORY_LIMIT:
        raise ConfigError(f"history(minutes={minutes}): a day of minutes is kept; give hours={-(-minutes // 60)}.")
    if hours is not None and count_of("history", hours, "hours") > HOURS_KEPT:
        raise ConfigError(f"history(hours={hours}): {HOURS_KEPT} hours (30 days) are kept.")
    stats: QueueStats
    asked = Stats(home.full_name, minutes if hours is None else 0, jobs=False, hours=hours or 0)
    [stats] = yield Ask((asked,))
    rows = stats.minutes if hours is None else stats.hours
    return [minute_of(row) for row in sorted(rows, key=lambda row: row.minute)]


def changes(home: Home, limit: int) -> Steps[list[Change]]:
    """The last changes by hand, newest first."""
    found: list[answers.Change]
    [found] = yield Ask((Changes(home.full_name, count_of("changes", limit)),))
    return [change_of(change) for change in found]


def workers(home: Home) -> Steps[list[WorkerInfo]]:
    """The living workers of the queue."""
    stats = yield from ask_stats(home)
    return [worker_of(presence, info) for presence, info in living(stats)]


def crons(home: Home, own: Sequence[CronEntry]) -> Steps[list[CronInfo]]:
    """The cron entries that living workers have in their code."""
    stats = yield from ask_stats(home)
    lines = _lines(stats, own)
    stats = yield from ask_stats(home, 0, tuple(lines))
    found: list[CronInfo] = []
    for name, line in lines.items():
        state = stats.crons.get(name)
        next_ms = _ticks(line).next_ms(stats.now_ms)
        if next_ms is not None:
            last_ms = None if state is None else state.last_ms
            found.append(
                CronInfo(
                    name=name, task=line.task, expression=line.expression, timezone=line.timezone,
                    next_at=moment(next_ms), last_at=None if last_ms is None else moment(last_ms),
                    paused=state is not None and state.paused_ms is not None,
                )
            )  # fmt: skip
    return found


def pause_cron(home: Home, own: Sequence[CronEntry], name: str, reason: str | None) -> Steps[None]:
    """Hold one cron entry, or let it go on (reason None)."""
    known = {entry.name for entry in own}
    if name not in known:
        stats = yield from ask_stats(home)
        known |= {one for _, info in living(stats) for one in info.crons}
    if name not in known:
        guess = did_you_mean(name, known) or f". Known: {', '.join(sorted(known)) or 'none'}."
        raise UsageError(f"queue '{home.name}' has no cron '{name}'{guess}")
    yield Ask((Configure(home.full_name, cron=(name, reason), who=who()),))


def ask_stats(home: Home, minutes: int = 0, names: tuple[str, ...] = ()) -> Steps[QueueStats]:
    """The queue in numbers."""
    stats: QueueStats
    [stats] = yield Ask((Stats(home.full_name, minutes, names),))
    return stats


def choose(door: str, ids: Sequence[str], filters: Mapping[str, object], everything: bool) -> None:
    """UsageError unless it is said which jobs a verb is for: ids, or filters, or everything=True."""
    given = [name for name, value in filters.items() if value is not None]
    if not ids and not given and not everything:
        raise UsageError(f"{door}() without ids or filters is for all jobs; if you mean that, say everything=True.")
    if ids and (given or everything):
        raise UsageError(f"{door}() takes ids or filters, not both.")


def chunks(ids: Sequence[str], size: int = VERB_LIMIT) -> list[tuple[str, ...]]:
    """Ids in portions that one verb carries; each id once."""
    once = tuple(dict.fromkeys(ids))
    return [once[start : start + size] for start in range(0, len(once), size)]


def span(door: str, since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    """Two moments in milliseconds."""
    return (
        None if since is None else moment_ms(aware(since, f"{door}(since=...)")),
        None if until is None else moment_ms(aware(until, f"{door}(until=...)")),
    )


def count_of(door: str, value: object, word: str = "limit") -> int:
    """A whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{door}({word}={value!r}): give a whole number >= 1.")
    return value


def _wanted(
    door: str, task: str | None, since: datetime | None, until: datetime | None, at: Callable[[Record], int]
) -> Wanted:
    first_ms, last_ms = span(door, since, until)

    def wanted(record: Record) -> bool:
        return (
            (first_ms is None or at(record) >= first_ms)
            and (last_ms is None or at(record) <= last_ms)
            and (task is None or task_of(record) == task)
        )

    return wanted


def _lines(stats: QueueStats, own: Sequence[CronEntry]) -> dict[str, CronLine]:
    """The entries of living workers: as they say themselves, else as this process's code has them."""
    here = {entry.name: entry.line() for entry in own}
    lines: dict[str, CronLine] = {}
    for _, info in living(stats):
        lines |= {name: here[name] for name in info.crons if name in here}
        lines |= {line.name: line for line in info.cron_lines}
    return lines


def _ticks(line: CronLine) -> Schedule:
    interval = line.interval_ms
    if interval is not None:
        return Schedule(expression=line.expression, timezone=line.timezone, interval_ms=interval)
    return parse_cron(line.expression, line.timezone)
