"""Why a job is where it is: a sentence, the reasons as words, the facts. Pure: asks no store, reads no clock."""

from datetime import UTC, datetime, tzinfo
from typing import Final, assert_never

import msgspec

from surefoot.brokers.answers import QueueStats, Record
from surefoot.client.presence import living
from surefoot.client.records import due_ms, newest_error, task_of
from surefoot.core.errors import duration_words
from surefoot.core.events import Explanation
from surefoot.core.names import WaitReason

_PARKED_TASK: Final = "task:"
_PARKED_NEEDS: Final = "needs:"
_SHOWN: Final = 200


class _Case(msgspec.Struct, frozen=True):
    """What is known when a job is explained. `zone` is that of whoever reads it; None is this machine's."""

    record: Record
    stats: QueueStats
    queue: str
    zone: tzinfo | None

    def ago(self, ms: int) -> str:
        return duration_words((self.stats.now_ms - ms) / 1000)

    def clock(self, ms: int) -> str:
        """`09:12`, with the date if it is not today's."""
        now = datetime.fromtimestamp(self.stats.now_ms / 1000, UTC).astimezone(self.zone)
        at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(self.zone)
        return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def explain(record: Record, stats: QueueStats, queue: str, zone: tzinfo | None = None) -> Explanation:
    """Why this job of the queue named `queue` is where it is."""
    case = _Case(record, stats, queue, zone)
    match record.state:
        case "processing":
            sentence, reasons = _processing(case)
        case "scheduled":
            sentence, reasons = _scheduled(case)
        case "pending":
            sentence, reasons = _pending(case)
        case "parked":
            sentence, reasons = _parked(case)
        case "completed" | "dead" | "cancelled" | "expired":
            sentence, reasons = _finished(case)
        case _:
            assert_never(record.state)
    return Explanation(
        job_id=record.id, state=record.state, sentence=sentence, reasons=tuple(reasons), details=_details(case)
    )


Told = tuple[str, list[WaitReason]]


def _processing(case: _Case) -> Told:
    record, stats = case.record, case.stats
    attempt = record.counts.runs + 1
    since = f" since {case.clock(record.started_ms)}" if record.started_ms else ""
    if record.lease_ms is not None and record.lease_ms <= stats.now_ms:
        ago = case.ago(record.lease_ms)
        lost = f"Processing{since}, but its worker{_worker(case)} is silent: the lease ended {ago} ago"
        if stats.paused_ms is not None:
            return f"{lost}. {_upper(_paused(case))}: it runs again after the resume. {_resume(case)}", [
                "lease_lost",
                "paused",
            ]
        if not living(stats):
            return f"{lost}, and no worker is alive on queue {case.queue}. Start one.", ["lease_lost", "no_worker"]
        return f"{lost}. The next worker with a free slot runs it again.", ["lease_lost"]
    asked = "" if record.cancel is None else ", and it was asked to cancel"
    ago = f", for {case.ago(record.started_ms)}" if record.started_ms else ""
    return f"Running on{_worker(case)}{since}{ago}: attempt {attempt}{asked}.", ["running"]


def _scheduled(case: _Case) -> Told:
    due = due_ms(case.record)
    counts = case.record.counts
    error = newest_error(case.record)
    why = ""
    if counts.failures and error is not None:
        why = f" It failed {_times(counts.failures)}, last with {_ended(f'{error.kind}: {error.message}')}"
    elif counts.snoozes:
        why = f" It snoozed {_times(counts.snoozes)}."
    if due <= case.stats.now_ms:
        head = f"Due since {case.ago(due)}."
        sentence, reasons = _waits(case, head)
        return sentence + why, reasons
    wait = duration_words((due - case.stats.now_ms) / 1000)
    paused: list[WaitReason] = ["paused"] if case.stats.paused_ms is not None else []
    tail = f" {_upper(_paused(case))}. {_resume(case)}" if paused else ""
    return f"Scheduled for {case.clock(due)}, in {wait}.{why}{tail}", ["not_due", *paused]


def _pending(case: _Case) -> Told:
    return _waits(case, f"Pending for {case.ago(max(case.record.enqueued_ms, due_ms(case.record)))}")


def _waits(case: _Case, head: str) -> Told:
    """Why a job that is due has not started: the pause, the workers, then its place in the line."""
    head = head.rstrip(".")
    stats, task = case.stats, task_of(case.record)
    if stats.paused_ms is not None:
        return f"{head}: {_paused(case)}. {_resume(case)}", ["paused"]
    workers = [info for _, info in living(stats) if not info.draining]
    if not workers:
        return f"{head}: no worker is alive on queue {case.queue}. Start one.", ["no_worker"]
    if not any(task in info.tasks for info in workers):
        return (
            f"{head}: none of the {count_words(len(workers), 'worker')} on queue {case.queue} has the task {task}.",
            ["unknown_task"],
        )
    behind = case.record.behind or 0
    line = f"{behind:,} {'job comes' if behind == 1 else 'jobs come'} before it" if behind else "it is the next one"
    reasons: list[WaitReason] = ["behind"] if behind else []
    if all(info.running >= info.concurrency for info in workers):
        slots = sum(info.concurrency for info in workers)
        full = f"all {slots} slots of {count_words(len(workers), 'worker')} are taken"
        return f"{head}: {full}, and {line}.", ["full_workers", *reasons]
    return f"{head}: {line}.", reasons


def _parked(case: _Case) -> Told:
    record = case.record
    reason = record.reason or ""
    head = "Parked" if record.parked_ms is None else f"Parked for {case.ago(record.parked_ms)}"
    if reason.startswith(_PARKED_NEEDS):
        needs = reason.removeprefix(_PARKED_NEEDS)
        return f"{head}: it needs a worker with a newer surefoot (protocol {needs}).", ["newer_version"]
    task, at, schema = reason.removeprefix(_PARKED_TASK).partition("@")
    if at:
        return f"{head}: no worker knows version {schema} of the task {task}; deploy one that does.", ["newer_version"]
    if any(task in info.tasks for _, info in living(case.stats)):
        return f"{head}: a worker that has the task {task} is alive and takes it soon.", ["unknown_task"]
    return f"{head}: no worker on queue {case.queue} has the task {task}.", ["unknown_task"]


def _finished(case: _Case) -> Told:
    record = case.record
    at = (
        ""
        if record.finished_ms is None
        else f" at {case.clock(record.finished_ms)}, {case.ago(record.finished_ms)} ago"
    )
    runs = count_words(record.counts.runs, "run")
    if record.state == "completed":
        return f"Completed{at}, after {runs}.", ["finished"]
    if record.state == "cancelled":
        reason = f" ({_short(record.reason)})" if record.reason else ""
        return f"Cancelled{at}{reason}.", ["finished"]
    if record.state == "expired":
        return f"Expired{at}: it was not started in time.", ["finished"]
    error = newest_error(case.record)
    last = "" if error is None else f" Last error: {_ended(f'{error.kind}: {error.message}')}"
    return f"Dead{at} ({record.reason or 'unknown'}), after {runs}.{last}", ["finished"]


def _paused(case: _Case) -> str:
    paused_ms = case.stats.paused_ms or 0
    reason = f" ({case.stats.pause_reason})" if case.stats.pause_reason else ""
    return f"queue {case.queue} is paused since {case.clock(paused_ms)}{reason}"


def _resume(case: _Case) -> str:
    return f"`surefoot resume -q {case.queue}`"


def _worker(case: _Case) -> str:
    caller = case.record.caller
    if not caller or caller == "-":
        return " an unknown worker"
    for presence, info in living(case.stats):
        if presence.caller == caller and info.name:
            return f" {info.name}:{info.pid} ({caller})"
    return f" {caller}"


def _details(case: _Case) -> dict[str, str | float]:
    record, counts = case.record, case.record.counts
    details: dict[str, str | float] = {
        "queue": case.queue, "task": task_of(record), "runs": counts.runs, "failures": counts.failures,
        "crashes": counts.crashes, "interruptions": counts.interruptions, "snoozes": counts.snoozes,
        "workers": len(living(case.stats)),
    }  # fmt: skip
    if record.behind is not None:
        details["behind"] = record.behind
    if record.reason:
        details["reason"] = record.reason
    if record.caller and record.caller != "-":
        details["worker"] = record.caller
    return details


def count_words(number: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."


def _ended(text: str) -> str:
    """Somebody's words as the end of our sentence."""
    line = _short(text)
    return line if line.endswith(("...", "?", "!")) else f"{line.rstrip('.')}."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
