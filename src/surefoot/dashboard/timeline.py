"""The life of one job as a list of moments: enqueued, each attempt with its error, progress, the end. Pure."""

import msgspec

from surefoot.brokers.answers import Record
from surefoot.client.records import due_ms, error_lines
from surefoot.core.codec import ErrorLine
from surefoot.core.job import Job

_CRASH = "crash"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a job. `tone`: good, bad or plain; `seconds`: how long it took."""

    at_ms: int
    what: str
    tone: str = "plain"
    seconds: float | None = None
    detail: str | None = None
    traceback: str | None = None
    worker: str | None = None


def life(record: Record, job: Job) -> list[Moment]:
    """What the store still knows of a job's life, in order. Of many failed attempts it keeps only the newest."""
    moments = [Moment(at_ms=record.enqueued_ms, what="Enqueued")]
    due = due_ms(record)
    if due > record.enqueued_ms:
        moments.append(Moment(at_ms=due, what="Due"))
    moments += [_attempt(line) for line in reversed(error_lines(record))]
    if record.state == "processing" and record.started_ms:
        moments.append(
            Moment(
                at_ms=record.started_ms,
                what=f"Attempt {record.counts.runs + 1} is running",
                worker=job.worker,
                detail=_progress(job),
            )
        )
    if record.finished_ms is not None:
        moments.append(_end(record, job))
    return sorted(moments, key=lambda one: one.at_ms)


def kept_failures(record: Record) -> int:
    """How many failed attempts the store still has an error of."""
    return sum(line.kind is not None for line in error_lines(record))


def _attempt(line: ErrorLine) -> Moment:
    attempt = f"Attempt {line.attempt}" if line.attempt else "An attempt"
    spent = None
    if line.started_ms and line.ended_ms:
        spent = (line.ended_ms - line.started_ms) / 1000
    lost = line.kind == _CRASH
    words = ": ".join(word for word in (line.kind, line.message) if word) or line.reason
    return Moment(
        at_ms=line.ended_ms or line.started_ms or 0,
        what=f"{attempt} lost its worker and was recovered" if lost else f"{attempt} failed",
        tone="bad",
        seconds=spent,
        detail=words,
        traceback=line.traceback,
        worker=line.caller,
    )


def _end(record: Record, job: Job) -> Moment:
    spent = None
    if record.state == "completed" and record.started_ms and record.finished_ms:
        spent = (record.finished_ms - record.started_ms) / 1000
    return Moment(
        at_ms=record.finished_ms or 0,
        what={"completed": "Completed", "dead": "Dead", "cancelled": "Cancelled"}.get(record.state, "Expired"),
        tone={"completed": "good", "dead": "bad"}.get(record.state, "plain"),
        seconds=spent,
        detail=record.reason,
        worker=job.worker if record.state == "completed" else None,
    )


def _progress(job: Job) -> str | None:
    progress = job.progress
    if progress is None:
        return None
    total = "" if progress.total is None else f" of {progress.total:g}"
    return f"progress {progress.done:g}{total}{f', {progress.note}' if progress.note else ''}"
