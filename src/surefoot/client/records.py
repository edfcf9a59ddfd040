"""What the store tells, as the inert records that users see: Job, Stats, WorkerInfo, ... Talks to no store."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, final

import msgspec
from msgspec import UNSET

from surefoot.brokers import answers
from surefoot.brokers.answers import EVENTS, ChangeWord, MinuteRow, Presence, QueueStats, Record
from surefoot.client.presence import PresenceInfo, living
from surefoot.core import sketch
from surefoot.core.codec import (
    Envelope,
    ErrorLine,
    NewerEnvelope,
    UnreadableEnvelope,
    decode_envelope,
    decode_error,
    decode_json,
    decode_note,
)
from surefoot.core.errors import ErrorInfo
from surefoot.core.job import Job, Leased, moment
from surefoot.core.lifecycle import first_due_ms
from surefoot.core.spec import Spec

UNREADABLE_TASK: Final = "?"
"""The task of a job whose body cannot be read here."""


@final
class Pause(msgspec.Struct, frozen=True):
    """Since when a queue is paused, and why if somebody said so."""

    since: datetime
    reason: str | None


@final
class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in numbers. `oldest_pending`: age of the oldest pending job in seconds; `workers`: how many are alive."""

    scheduled: int
    pending: int
    parked: int
    processing: int
    dead: int
    oldest_pending: float | None
    paused: Pause | None
    workers: int


@final
class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """So many times, and how many seconds the faster half, 95 % and 99 % of them took at most; right to 5 %."""

    count: int
    p50: float
    p95: float
    p99: float


@final
class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """What happened on a queue in the minute, or the hour, that began at `at`.

    `failed` and `recovered` count runs. `waiting`: from a job's due time to its first run; `running`: how long runs
    lasted.
    """

    at: datetime
    enqueued: int
    completed: int
    failed: int
    dead: int
    retried: int = 0
    cancelled: int = 0
    expired: int = 0
    recovered: int = 0
    waiting: Percentiles | None = None
    running: Percentiles | None = None


@final
class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job that went wrong, or its death without a run; each field None if nobody knows it.

    `worker` is the id of the one that ran it. `reason`: why the job died of it.
    """

    attempt: int | None
    kind: str | None
    message: str | None
    traceback: str | None
    started_at: datetime | None
    ended_at: datetime | None
    worker: str | None
    reason: str | None


@final
class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change by hand. `who`: `user@host` of whoever asked; `many`: how many jobs, 1 where it was no job.

    `names`: the first ten jobs, the cron entry, or the limit.
    """

    at: datetime
    who: str
    what: ChangeWord
    many: int
    reason: str | None
    names: Sequence[str]


@final
class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A worker seen in the last 45 s. `id` is random, new at each start: it is what else is called `worker`."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    tasks: Sequence[str]
    crons: Sequence[str]
    running: int
    concurrency: int
    draining: bool
    seen_at: datetime


@final
class CronInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One cron entry that a living worker has in its code. `last_at`: its last tick, whichever worker fired it, also
    one that found the run before unfinished and was skipped; a run by hand is no tick.
    """

    name: str
    task: str
    expression: str
    timezone: str
    next_at: datetime
    last_at: datetime | None
    paused: bool


def job_of(record: Record, queue: str, specs: Mapping[str, Spec]) -> Job:
    """What the store knows of a job. A body that cannot be read gives a job of the task "?", without arguments."""
    envelope = _envelope(record.body)
    counts = record.counts
    spec = specs.get(envelope.task)
    started_ms, worker = _last_run(record) if record.state == "dead" else (record.started_ms, _worker(record.caller))
    return Job(
        id=record.id,
        queue=queue,
        task=envelope.task,
        arguments=_arguments(envelope),
        headers=envelope.headers,
        state=record.state,
        priority=record.priority,
        key=envelope.key if record.key is None else record.key.partition(" ")[2],
        group=None,
        runs=counts.runs,
        failures=counts.failures,
        crashes=counts.crashes,
        interruptions=counts.interruptions,
        snoozes=counts.snoozes,
        max_attempts=_max_attempts(envelope, spec),
        enqueued_at=moment(record.enqueued_ms),
        due_at=moment(due_ms(record, envelope)),
        started_at=None if not started_ms else moment(started_ms),
        finished_at=None if record.finished_ms is None else moment(record.finished_ms),
        worker=worker,
        progress=None if record.note is None else decode_note(record.note),
        error=newest_error(record),
        reason=record.reason if record.state == "dead" else None,  # type: ignore[arg-type]  # the store's words of a death
    )


def task_of(record: Record) -> str:
    """The task of a job, without reading the rest."""
    return _envelope(record.body).task


def due_ms(record: Record, envelope: Envelope | None = None) -> int:
    """When a job is due: what it waits for while scheduled, else its first due time."""
    if record.state == "scheduled" and record.due_ms is not None:
        return record.due_ms
    leased = Leased(record.id, "", record.enqueued_ms, record.body, record.counts)
    return first_due_ms(leased, envelope or _envelope(record.body))


def error_lines(record: Record) -> list[ErrorLine]:
    """What went wrong with a job, newest first."""
    return [decode_error(line) for line in record.errors]


def attempts_of(record: Record) -> list[Attempt]:
    """What went wrong with a job, newest first: its last ten errors."""
    return [
        Attempt(
            attempt=line.attempt,
            kind=line.kind,
            message=line.message,
            traceback=line.traceback,
            started_at=None if not line.started_ms else moment(line.started_ms),
            ended_at=None if not line.ended_ms else moment(line.ended_ms),
            worker=_worker(line.caller),
            reason=line.reason,
        )
        for line in error_lines(record)
    ]


def _worker(caller: str | None) -> str | None:
    return caller if caller not in ("-", "") else None


def _last_run(record: Record) -> tuple[int | None, str | None]:
    """When the last run of a job began, and where: while it waits or is dead, its newest error tells."""
    if record.started_ms or not record.errors:
        return record.started_ms, _worker(record.caller)
    newest = decode_error(record.errors[0])
    return newest.started_ms, _worker(newest.caller)


def newest_error(record: Record) -> ErrorInfo | None:
    """The newest line that names an error; a death alone, such as a crash loop's, names none."""
    for raw in record.errors:
        line = decode_error(raw)
        if line.kind is not None:
            return ErrorInfo(
                kind=line.kind, kinds=line.kinds, message=line.message or "", traceback=line.traceback or ""
            )
    return None


def stats_of(stats: QueueStats) -> Stats:
    """The numbers of a queue."""
    paused_ms = stats.paused_ms
    return Stats(
        scheduled=stats.scheduled,
        pending=stats.pending,
        parked=stats.parked,
        processing=stats.processing,
        dead=stats.dead,
        oldest_pending=None if stats.oldest_ms is None else stats.oldest_ms / 1000,
        paused=None if paused_ms is None else Pause(moment(paused_ms), stats.pause_reason or None),
        workers=len(living(stats)),
    )


def minute_of(row: MinuteRow) -> Minute:
    """One minute, or one hour, of a queue's history."""
    return Minute(
        at=moment(row.minute * 60_000),
        **{event: getattr(row, event) for event in EVENTS},
        waiting=_percentiles(row.times, "waiting"),
        running=_percentiles(row.times, "running"),
    )


def _percentiles(times: Mapping[int, int], of: sketch.Of) -> Percentiles | None:
    count = sketch.total(times, of)
    if not count:
        return None
    p50, p95, p99 = (sketch.quantile(times, of, share) or 0.0 for share in (0.5, 0.95, 0.99))
    return Percentiles(count=count, p50=p50, p95=p95, p99=p99)


def change_of(change: answers.Change) -> Change:
    """One change by hand."""
    return Change(
        at=moment(change.at_ms),
        who=change.who,
        what=change.what,
        many=change.many,
        reason=change.reason or None,
        names=change.names,
    )


def worker_of(presence: Presence, info: PresenceInfo) -> WorkerInfo:
    """One worker as it said of itself."""
    return WorkerInfo(
        id=presence.caller,
        name=info.name,
        host=info.host,
        pid=info.pid,
        version=info.version,
        queues=info.queues,
        tasks=info.tasks,
        crons=info.crons,
        running=info.running,
        concurrency=info.concurrency,
        draining=info.draining,
        seen_at=moment(presence.seen_ms),
    )


def _envelope(body: bytes) -> Envelope:
    try:
        return decode_envelope(body)
    except (NewerEnvelope, UnreadableEnvelope):
        return Envelope(1, "", UNREADABLE_TASK, msgspec.Raw(b"{}"))


def _arguments(envelope: Envelope) -> Mapping[str, Any]:
    try:
        arguments = decode_json(envelope.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _max_attempts(envelope: Envelope, spec: Spec | None) -> int | None:
    if envelope.options.max_attempts is not UNSET:
        return envelope.options.max_attempts
    return None if spec is None else spec.retry.max_attempts
