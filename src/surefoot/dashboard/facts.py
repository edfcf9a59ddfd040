"""What each page shows, asked of the store: one function a page. They change nothing and know no request."""

from collections.abc import Mapping
from typing import Any, Final, cast

from surefoot.brokers.answers import QueueStats, Record
from surefoot.brokers.broker import Get, Stats
from surefoot.client.explain import explain
from surefoot.client.groups import DeadGroup, Groups
from surefoot.client.presence import PresenceInfo, living
from surefoot.client.queue import Queue
from surefoot.client.records import job_of, task_of
from surefoot.core.codec import decode_json
from surefoot.core.errors import JobNotFound, UsageError
from surefoot.core.job import Job
from surefoot.core.names import State
from surefoot.dashboard import charts
from surefoot.dashboard.history import HOUR, jobs_chart, recent, times_of
from surefoot.dashboard.house import House
from surefoot.dashboard.letters import wanted, words_of
from surefoot.dashboard.scan import scan
from surefoot.dashboard.timeline import kept_failures, life

Query = Mapping[str, str]
Facts = dict[str, Any]

STATES: Final = ("pending", "scheduled", "parked", "processing", "completed", "dead", "cancelled", "expired")
SPANS_S: Final = {"1h": 3_600, "1d": 86_400, "7d": 7 * 86_400}
_SPARK = 60
_DEPTHS: Final = (1_000, 10_000)
_GROUPS: Final = 100


async def stats_of(queue: Queue, minutes: int = 0, *, crons: tuple[str, ...] = ()) -> QueueStats:
    """The queue in numbers."""
    answer: QueueStats
    (answer,) = await queue.sessions.ask([Stats(queue.full_name, minutes, crons)])
    return answer


def numbers(queue: Queue, stats: QueueStats) -> Facts:
    """A queue's line on the first page."""
    seconds = 60 + stats.now_ms % 60_000 / 1000
    alive = living(stats)
    done = recent(stats, "completed", _SPARK)

    def rate(event: str) -> int:
        return round(sum(recent(stats, event, 2)) * 60 / seconds)

    return {
        "name": queue.name,
        **{state: getattr(stats, state) for state in ("scheduled", "pending", "parked", "processing", "dead")},
        "oldest_s": None if stats.oldest_ms is None else stats.oldest_ms / 1000,
        "done": rate("completed"),
        "failed": rate("failed"),
        "paused_ms": stats.paused_ms,
        "pause_reason": stats.pause_reason,
        "ended_leases": stats.ended_leases,
        "workers": len(alive),
        "spark": charts.spark(done, f"{sum(done):,} jobs completed in the last hour"),
        "now_ms": stats.now_ms,
    }


def slots(told: list[tuple[str, PresenceInfo]]) -> tuple[int, int]:
    """Busy and all slots of workers; one that serves several queues is counted once."""
    once = dict(told)
    return sum(info.running for info in once.values()), sum(info.concurrency for info in once.values())


async def overview(house: House, query: Query) -> Facts:
    """All queues at a glance."""
    rows: list[Facts] = []
    told: list[tuple[str, PresenceInfo]] = []
    for queue in await house.queues():
        stats = await stats_of(queue, _SPARK)
        rows.append(numbers(queue, stats))
        told += [(presence.caller, info) for presence, info in living(stats)]
    busy, every = slots(told)
    oldest = max((row for row in rows if row["oldest_s"] is not None), key=lambda row: row["oldest_s"], default=None)
    sums = {field: sum(row[field] for row in rows) for field in ("pending", "processing", "dead", "done", "failed")}
    return {"rows": rows, "busy": busy, "slots": every, "workers": len(dict(told)), "oldest": oldest, **sums}


async def one_queue(house: House, query: Query) -> Facts:
    """One queue: its numbers, its last hour, who works on it."""
    queue = await house.queue(query.get("name", ""))
    stats = await stats_of(queue, _SPARK)
    return {
        "queue": queue.name,
        "row": numbers(queue, stats),
        "workers": [worker_facts(stats, presence.caller, presence.seen_ms, info) for presence, info in living(stats)],
        "chart": jobs_chart(stats, HOUR),
        "times": times_of(stats.minutes),
        "totals": dict(stats.totals),
        "max_length": stats.max_length,
    }


async def jobs(house: House, query: Query) -> Facts:
    """A page of jobs in a state, by task and time. A filter reads at most 1,000 jobs a page, and says so."""
    queue = await house.queue(query.get("queue", ""))
    state, task, since = query.get("state", "pending"), query.get("task", ""), query.get("since", "")
    if state not in STATES:
        raise UsageError(f"state={state}: there are {', '.join(STATES)}.")
    if since and since not in SPANS_S:
        raise UsageError(f"since={since}: there are {', '.join(SPANS_S)}.")
    stats = await stats_of(queue)
    first_ms = stats.now_ms - SPANS_S[since] * 1000 if since else 0

    def chosen(record: Record) -> bool:
        return record.enqueued_ms >= first_ms and (not task or task_of(record) == task)

    found = await scan(
        queue, cast("State", state), chosen if task or since else None, cursor=query.get("cursor") or None
    )
    return {
        "queue": queue.name, "state": state, "task": task, "since": since, "filtered": bool(task or since),
        "found": [job_of(record, queue.name, queue.specs) for record in found.records],
        "read": found.read, "cursor": found.cursor, "started": bool(query.get("cursor")),
        "states": STATES, "spans": list(SPANS_S), "counts": {s: getattr(stats, s, None) for s in STATES},
        "tasks": known_tasks(queue, stats),
    }  # fmt: skip


def known_tasks(queue: Queue, stats: QueueStats) -> list[str]:
    """Names of tasks: of the code here and of living workers."""
    return sorted({*queue.tasks, *(task for _, info in living(stats) for task in info.tasks)})


async def one_job(house: House, query: Query) -> Facts:
    """One job: where it is and why, its life, its arguments, its result."""
    queue, id = await house.queue(query.get("queue", "")), query.get("id", "")
    record, stats = await looked_up(queue, id)
    job = job_of(record, queue.name, queue.specs)
    return {
        "queue": queue.name,
        "job": job,
        "explanation": explain(record, stats, queue.name),
        "life": life(record, job),
        "lost_lines": max(0, job.failures + job.crashes - kept_failures(record)),
        "result": _result(record),
        "has_result": record.state == "completed" and record.result is not None,
        "cancel_asked": record.cancel is not None,
        "readable": job.task != "?",
    }


async def looked_up(queue: Queue, id: str) -> tuple[Record, QueueStats]:
    """A job's record, and the queue's numbers without a count of its jobs; JobNotFound."""
    # The border refuses an id longer than any that it accepts.
    get = Get(queue.full_name, (id,), behind=True)
    ((record,), stats) = await queue.sessions.ask([get, Stats(queue.full_name, 0, jobs=False)])
    if record is None:
        told = "it ended and keeps no outcome, or it never was"
        raise JobNotFound(f"queue '{queue.name}' does not know job {id}: {told}.", job_id=id, queue=queue.name)
    return record, stats


def _result(record: Record) -> object:
    if record.result is None:
        return None
    try:
        return decode_json(record.result)
    except (ValueError, RecursionError):
        return "(cannot be read)"


async def search(house: House, id: str) -> Job | None:
    """The job of this id, on whatever queue it is."""
    for queue in await house.queues():
        job = await queue.get(id)
        if job is not None:
            return job
    return None


async def dead(house: House, query: Query) -> Facts:
    """Dead letters of all queues or one, grouped by what killed them, and the newest that match."""
    task, error, reason = query.get("task", ""), query.get("error", ""), query.get("reason", "")
    depth = _DEPTHS[1] if query.get("deep") else _DEPTHS[0]
    queues = await house.queues()
    chosen = query.get("queue", "") or (queues[0].name if len(queues) == 1 else "")
    picked = [await house.queue(chosen)] if chosen else queues
    shown: list[Facts] = []
    letters: list[Job] = []
    cursor = query.get("cursor") or None
    for queue in picked:
        count = (await stats_of(queue)).dead
        found = await scan(queue, "dead", cursor=None, enough=depth, most=depth) if not cursor else None
        if found is not None:
            fit = [one for one in found.records if wanted(one, task=task, error=error, reason=reason)]
            shown.append(
                {"queue": queue.name, "dead": count, "read": found.read, "more": found.cursor is not None,
                 "matching": len(fit), "groups": _grouped(fit)}
            )  # fmt: skip
        if chosen:
            filtered = bool(task or error or reason)
            page = await scan(
                queue, "dead",
                (lambda one: wanted(one, task=task, error=error, reason=reason)) if filtered else None, cursor=cursor,
            )  # fmt: skip
            letters = [job_of(record, queue.name, queue.specs) for record in page.records]
            cursor = page.cursor
    return {
        "shown": shown, "queue": chosen, "letters": letters, "cursor": cursor if chosen else None, "task": task,
        "error": error, "reason": reason, "deep": bool(query.get("deep")), "queues": [one.name for one in queues],
        "filtered": bool(task or error or reason), "started": bool(query.get("cursor")),
    }  # fmt: skip


def _grouped(letters: list[Record]) -> list[tuple[DeadGroup, str]]:
    """What these died of, and the words by which each group is found."""
    groups = Groups()
    groups.take(letters)
    return [(group, words_of(group)) for group in groups.largest(_GROUPS)]


def worker_facts(stats: QueueStats, caller: str, seen_ms: int, info: PresenceInfo) -> Facts:
    """A worker's line."""
    return {
        "id": caller, "name": info.name or "?", "host": info.host, "pid": info.pid, "version": info.version,
        "queues": list(info.queues), "tasks": sorted(info.tasks), "running": info.running,
        "concurrency": info.concurrency, "draining": info.draining, "seen_s": (stats.now_ms - seen_ms) / 1000,
        "up_s": (stats.now_ms - info.started_ms) / 1000 if info.started_ms else None, "jobs": [],
    }  # fmt: skip


async def workers(house: House, query: Query) -> Facts:
    """Who is alive, and what each has in hand. Of each queue at most 1,000 running jobs are read."""
    found: dict[str, Facts] = {}
    orphans: list[Facts] = []
    cut = False
    for queue in await house.queues():
        stats = await stats_of(queue)
        for presence, info in living(stats):
            told = worker_facts(stats, presence.caller, presence.seen_ms, info)
            before = found.setdefault(presence.caller, told)
            before["tasks"] = sorted({*before["tasks"], *told["tasks"]})
        if not stats.processing:
            continue
        running = await scan(queue, "processing", enough=1_000, most=1_000)
        cut = cut or running.cursor is not None
        for record in running.records:
            job = job_of(record, queue.name, queue.specs)
            since = record.started_ms or record.enqueued_ms
            ended = record.lease_ms is not None and record.lease_ms <= stats.now_ms
            line = {"job": job, "age_s": (stats.now_ms - since) / 1000, "ended": ended}
            (found[job.worker]["jobs"] if job.worker in found else orphans).append(line)
    ordered = sorted(found.values(), key=lambda one: (one["name"], one["pid"], one["id"]))
    return {"found": ordered, "orphans": orphans, "cut": cut}


async def changes(house: House, query: Query) -> Facts:
    """What people changed by hand: who, when, what."""
    told = [(queue.name, one) for queue in await house.queues() for one in await queue.changes(100)]
    return {"lines": sorted(told, key=lambda pair: pair[1].at, reverse=True)}


async def crons(house: House, query: Query) -> Facts:
    """Recurring jobs: of living workers, and of the code here."""
    lines: list[Facts] = []
    for queue in await house.queues():
        here = {entry.name: entry for entry in queue.registry.crons}
        first = await stats_of(queue)
        told = {name: entry.line() for name, entry in here.items()}
        told |= {line.name: line for _, info in living(first) for line in info.cron_lines}
        if not told:
            continue
        stats = await stats_of(queue, crons=tuple(told))
        soon = {one.name: one for one in await queue.crons()}
        for name, line in told.items():
            state = stats.crons.get(name)
            entry = soon.get(name)
            lines.append(
                {"queue": queue.name, "name": name, "task": line.task, "expression": line.expression,
                 "interval_ms": line.interval_ms, "timezone": line.timezone,
                 "next_at": None if entry is None else entry.next_at, "last_ms": state.last_ms if state else None,
                 "paused_ms": state.paused_ms if state else None, "reason": state.reason if state else None,
                 "here": name in here, "workers": sum(name in info.crons for _, info in living(first))}
            )  # fmt: skip
    return {"lines": lines}
